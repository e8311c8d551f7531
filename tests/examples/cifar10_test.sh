#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The program cifar10 from the outside: short runs on a part of the generated set, their files, and what it says when something is wrong.
set -u
program=${HEED_BIN_DIR:?}/cifar10
[[ -x $program ]] || exit 77
unset CIFAR10_DIR
source "$(dirname "${BASH_SOURCE[0]}")/expect.sh"

# --- data ----------------------------------------------------------------------------------------------------------------------------
# Without data the generated set is written, read back and announced. (A source tree that holds the real data hides it.)
if [[ -e ${HEED_SOURCE_DIR:-}/data/cifar-10-batches-bin/data_batch_1.bin ]]; then
  whole=$HEED_SOURCE_DIR/data/cifar-10-batches-bin
  kind=cifar10
else
  expect 0 "GENERATED SAMPLE SET" "$program" export steps --net article --steps 1 --batch-size 8 --each-step
  whole=data/generated-batches-bin
  kind=generated
  # One that was left half written is written again.
  mkdir -p half/data/generated-batches-bin
  cp "$whole/batches.meta.txt" half/data/generated-batches-bin/
  expect 0 "GENERATED SAMPLE SET" env -C half "$program" export steps --net article --steps 1 --batch-size 8
  rm -r half
fi
mkdir part
for batch in 1 2 3 4 5; do head -c $((3073 * 64)) "$whole/data_batch_$batch.bin" >"part/data_batch_$batch.bin"; done
head -c $((3073 * 50)) "$whole/test_batch.bin" >part/test_batch.bin
cp "$whole/batches.meta.txt" part/

# --- a run ---------------------------------------------------------------------------------------------------------------------------
expect 0 "test accuracy" "$program" train --net article --epochs 2 --batch-size 32 --data part --output run --seed 3
[[ $output == *"AttentionFusion"* && $output == *"FLOP"* ]] || fault "no summary: $output"
[[ $output == *"epoch  2/2"* ]] || fault "no line an epoch: $output"
keys='"event" "dataset" "net" "attention" "seed" "threads" "epochs" "test_accuracy" "test_accuracy_flip" "test_accuracy_6view" "train_seconds" "images_per_second" "weights_hash"'
found=$(tail -n 1 run/log.jsonl | grep -o '"[a-z0-9_]*":' | tr -d ':' | tr '\n' ' ')
[[ ${found% } == "$keys" ]] || fault "the result has the keys $found"
tail -n 1 run/log.jsonl | grep -q "\"event\":\"result\",\"dataset\":\"$kind\",\"net\":\"article\",\"attention\":\"full\",\"seed\":3" || fault "result: $(tail -n 1 run/log.jsonl)"
[[ $(grep -c '"event":"epoch"' run/log.jsonl) == 2 ]] || fault "log: $(cat run/log.jsonl)"

# The same seed gives the same weights, with another number of threads too; another seed does not.
hash_of() { tail -n 1 "$1/log.jsonl" | grep -o '"weights_hash":"[0-9a-f]*"'; }
expect 0 "" "$program" train --net article --epochs 2 --batch-size 32 --data part --output again --seed 3 --threads 1
[[ $(hash_of run) == "$(hash_of again)" ]] || fault "one seed, two models: $(hash_of run) and $(hash_of again)"
expect 0 "" "$program" train --net article --epochs 2 --batch-size 32 --data part --output other --seed 4
[[ $(hash_of run) != "$(hash_of other)" ]] || fault "two seeds, one model"

# Each part of the recipe changes the weights and stands in the log; an average that keeps nothing is the last weights; what is judged is what is saved.
for part in "average 0.9" "translate 0" "cutout 8"; do
  expect 0 "" "$program" train --net article --epochs 2 --batch-size 32 --data part --output other --overwrite --seed 3 --${part% *} "${part#* }"
  [[ $(hash_of run) != "$(hash_of other)" ]] || fault "--$part changes nothing"
  head -n 1 other/log.jsonl | grep -q "\"${part% *}\":${part#* }[.0]*," || fault "--$part is not in the log: $(head -n 1 other/log.jsonl)"
  expect 0 "" "$program" evaluate other/model.safetensors --data part --logits said.safetensors --overwrite
  grep -qaF "$(hash_of other)" said.safetensors || fault "--$part: the log's weights are $(hash_of other), others are saved"
done
expect 0 "" "$program" train --net article --epochs 2 --batch-size 32 --data part --output other --overwrite --seed 3 --average 0
[[ $(hash_of run) == "$(hash_of other)" ]] || fault "--average 0 is no average"

# A run that is to be replaced stays until the new one has a model.
expect 2 "learning rate" "$program" train --net article --epochs 1 --batch-size 32 --data part --output run --overwrite --learning-rate 1e12 \
  --optimizer sgd
[[ $(hash_of run) == "$(hash_of again)" ]] || fault "a failed run took the place of a good one: $(tail -n 1 run/log.jsonl)"
# So does it where the last step alone spoils the weights.
model=$(cksum <run/model.safetensors)
expect 2 "the test images cannot be judged after epoch 1, a smaller --learning-rate may help: evaluate: the loss of the images 0 to 49 is nan" "$program" train --net article --epochs 1 --batch-size 320 --data part --output run --overwrite \
  --learning-rate 1e14
[[ $(cksum <run/model.safetensors) == "$model" ]] || fault "weights that are no numbers took the place of good ones"
grep -q '"event":"failed"' run/log.jsonl.new || fault "the failed run left no word: $(ls run)"
expect 0 "accuracy" "$program" evaluate run/model.safetensors --data part

# Every arm and optimiser runs; without --output runs are numbered.
for arm in none identity uniform convolution; do
  expect 0 "attention $arm" "$program" train --net article --attention "$arm" --epochs 1 --batch-size 160 --data part --output "arm-$arm"
done
for optimizer in adam sgd; do
  expect 0 "runs/demo-" "$program" train --optimizer "$optimizer" --epochs 1 --batch-size 160 --validation 160 --data part
  [[ $output == *"validation accuracy"* ]] || fault "$optimizer: $output"
done
[[ -e runs/demo-1/model.safetensors && -e runs/demo-2/model.safetensors ]] || fault "runs are not numbered: $(ls -R runs)"

# The attention block has parts of its own, which stand in the log and the model's file; who looks at it finds it wherever it stands.
variant=("$program" train --net article --epochs 1 --batch-size 160 --data part --output variant --overwrite --seed 3)
expect 0 "" "${variant[@]}"
usual=$(hash_of variant)
for part in "attention-blocks 2" "attention-after 1" "feed-forward 2" "relative-bias" "attention-learning-rate 0.01" "attention-weight-decay 2" "logit-scale 2" "train-images 170"; do
  expect 0 "" "${variant[@]}" --$part
  [[ $(hash_of variant) != "$usual" ]] || fault "--$part changes nothing"
  key=${part%% *} key=${key//-/_} value=${part#* }
  [[ $part == *" "* ]] || value=true
  head -n 1 variant/log.jsonl | grep -qE "\"$key\":$value([.]0)?[,}]" || fault "--$part is not in the log: $(head -n 1 variant/log.jsonl)"
done
expect 0 "" "${variant[@]}" --attention-blocks 2 --attention-after 1 --feed-forward 1 --relative-bias
hash=$(hash_of variant)
expect 0 "logits: said.safetensors" "$program" evaluate variant/model.safetensors --data part --logits said.safetensors --overwrite
grep -qaF "$hash" said.safetensors || fault "another model was read than the one that was saved"
expect 0 "article with attention full (2 blocks, behind block 1, feed-forward 1, relative bias) on 9 test images of $kind; 45 of 225 tokens" "$program" evaluate variant/model.safetensors --data part --deletion --images 9
expect 0 "the page: wide.html" "$program" report variant --data part --output wide.html
(($(stat -c %s wide.html) < 3000000)) || fault "the page is larger than 3 MB"
expect 0 "the page: many.html" "$program" report $(printf 'variant %.0s' {1..16}) --data part --output many.html
(($(stat -c %s many.html) < 3000000)) || fault "the page of many runs is larger than 3 MB"
rm many.html
expect 0 "as ONNX" "$program" export variant/model.safetensors --onnx variant.onnx
grep -qa attention.1.mixer/bias variant.onnx || fault "variant.onnx lost the relative bias"
rm variant.onnx
expect 2 "attention behind block 3 of the net article" "${variant[@]}" --attention-after 3
expect 2 "--logit-scale" "${variant[@]}" --logit-scale 0
expect 2 "--attention-blocks" "${variant[@]}" --attention-blocks 0
expect 2 "--train-images 321: there are only 320" "${variant[@]}" --train-images 321

# A study makes the runs that are missing, and no others.
compared=("$program" study --output compared --net article --attention full none --seeds 2 --batch-size 160 --data part)
expect 0 "0 of 4 runs are there" "${compared[@]}" --epochs 1
[[ $output == *"| \`none\` | 2 |"* && $(cat compared/study.md) == *"## article"* ]] || fault "study: $output"
rm -r compared/article-none-1
tables=$(cat compared/study.md) hash=$(hash_of compared/article-full-1)
expect 0 "3 of 4 runs are there" "${compared[@]}" --epochs 1
[[ $(hash_of compared/article-full-1) == "$hash" && $(sed 's/[0-9]* |$//' compared/study.md) == "$(sed 's/[0-9]* |$//' <<<"$tables")" ]] || fault "a study is not repeated: $(cat compared/study.md)"
expect 2 "the run that is there was made with epochs 1, the study asks for 2" "${compared[@]}" --epochs 2
[[ $(hash_of compared/article-full-1) == "$hash" ]] || fault "a refused study changed a run"
expect 2 "the run that is there was made with training_images 320, the study asks for " "${compared[@]/part/$whole}" --epochs 1
# So is a run that was not finished, and one that says nothing of its recipe.
cp -r compared/article-full-1 kept
sed -i '$d' compared/article-full-1/log.jsonl
before=$(cat compared/article-full-1/* | cksum)
expect 2 "the run that is there was made with epochs 1, the study asks for 2" "${compared[@]}" --epochs 2
[[ $(cat compared/article-full-1/* | cksum) == "$before" ]] || fault "a refused study changed an unfinished run"
expect 0 "3 of 4 runs are there" "${compared[@]}" --epochs 1
[[ $(hash_of compared/article-full-1) == "$hash" ]] || fault "an unfinished run was not made again: $(tail -n 1 compared/article-full-1/log.jsonl)"
rm compared/article-full-1/log.jsonl
expect 2 "compared/article-full-1: the folder holds a model without a log" "${compared[@]}" --epochs 1
rm -r compared/article-full-1 && mv kept compared/article-full-1
# What is named twice is made once.
expect 0 "4 of 4 runs are there" "${compared[@]}" --epochs 1 --net article --attention full none full
[[ $(grep -c '| `full` |' compared/study.md) == 1 ]] || fault "study: $(cat compared/study.md)"
# Runs of other pictures, and of another instruction set, are no pairs.
cp -r part other_part && printf '\x01' | dd of=other_part/data_batch_1.bin bs=1 seek=7 conv=notrunc status=none
expect 2 "the run that is there was made with images_hash " "${compared[@]/part/other_part}" --epochs 1
[[ $output == *"or name the data of that run with --data" ]] || fault "no cure: $output"
sed -i 's/"isa":"[a-z0-9]*"/"isa":"another"/' compared/article-full-0/log.jsonl
expect 2 "the run that is there was made with isa \"another\", the study asks for " "${compared[@]}" --epochs 1
[[ $output == *"or set HEED_ISA as it was for that run" ]] || fault "no cure: $output"
sed -i "s/\"dataset\":\"$kind\"/\"dataset\":\"other\"/" compared/article-full-0/log.jsonl
expect 2 "the run that is there was made with dataset \"other\", the study asks for \"$kind\"" "${compared[@]}" --epochs 1

# --- using the model -----------------------------------------------------------------------------------------------------------------
accuracy=$(tail -n 1 run/log.jsonl | grep -o '"test_accuracy_6view":[0-9.]*' | cut -d: -f2)
expect 0 "accuracy $(awk "BEGIN { printf \"%.2f\", 100 * $accuracy }") %" "$program" evaluate run/model.safetensors --data part --views 6
expect 0 "logits: said.safetensors" "$program" evaluate run/model.safetensors --data part --logits said.safetensors --overwrite
grep -aq '"logits":{"dtype":"F64","shape":\[50,10\]' said.safetensors || fault "the logits: $(head -c 400 said.safetensors)"
grep -aq "$(hash_of run)" said.safetensors || fault "the logits are of other weights"
expect 0 "article with attention full on 20 test images of $kind, 1 view" "$program" evaluate run/model.safetensors --data part --images 20 --logits said.safetensors --overwrite
grep -aq '"logits":{"dtype":"F64","shape":\[20,10\]' said.safetensors || fault "the logits of 20 images: $(head -c 400 said.safetensors)"
expect 0 "all figures: figures.json" "$program" evaluate run/model.safetensors --data part --corruptions --images 9 --against arm-none/model.safetensors \
  --output figures.json
[[ $output == *"gaussian_noise"*"against article with attention none (arm-none/model.safetensors)"*"The first 9 of 50 test images"* ]] ||
  fault "corruptions: $output"
for words in "$(hash_of run | cut -d\" -f4)" "$(hash_of arm-none | cut -d\" -f4)" '"attention": "none"' '"clean_accuracy"' '"mean_ce"' '"mean_relative_ce"' '"elastic_transform"'; do
  grep -q "$words" figures.json || fault "figures.json does not hold $words"
done
# Names of files are any bytes, and JSON is UTF-8.
ln -s part $'caf\xe9'
expect 0 "test accuracy" "$program" train --net article --epochs 1 --batch-size 160 --data $'caf\xe9' --output $'run\xe9'
expect 0 "all figures: said.json" "$program" evaluate $'run\xe9/model.safetensors' --data part --corruptions --images 2 --output said.json
[[ $(head -n 1 $'run\xe9/log.jsonl') == *'"data":"caf�"'* && $(<said.json) == *'"model": "run�/model.safetensors"'* ]] || fault "names: $(head -n 1 $'run\xe9/log.jsonl')"
expect 0 "the page: said.html" "$program" report $'run\xe9' --data part --output said.html
rm -r $'caf\xe9' $'run\xe9' said.json said.html
expect 0 "mean               1.000 (1.000 to 1.000)" "$program" evaluate run/model.safetensors --data part --corruptions --against run/model.safetensors
expect 0 "article with attention full on 20 test images" "$program" evaluate run/model.safetensors --data part --deletion --images 20 --output deletion.json
for words in '"kind": "article with attention full"' '"images": 20,' '"deleted": 9,' '"random": 0.' '"relevance": {' '"received": {' '"middle": {' "$(hash_of run | cut -d\" -f4)"; do
  grep -qF -- "$words" deletion.json || fault "deletion.json does not hold $words: $(cat deletion.json)"
done
expect 2 "expected --corruptions or --deletion with it" "$program" evaluate run/model.safetensors --data part --output other.json
second=compared/article-full-1/model.safetensors
expect 0 "article with attention full (run/model.safetensors, $second), mean: " "$program" evaluate run/model.safetensors "$second" \
  --data part --corruptions --images 9 --against again/model.safetensors "$second"
expect 0 "the page: page.html" "$program" report run arm-none --robustness figures.json --data part --output page.html
for words in '"name":"arm-none"' '"calibration_error"' '"mistakes"' '"gallery"' '"elastic_transform"' '"comparisons":\[{"ce":{"gaussian_noise":{"value":' "Where it looks"; do
  grep -q "$words" page.html || fault "page.html does not hold $words"
done
grep -qE 'src="?https?:|href="?https?:|@DATA@|@REPORT' page.html && fault "the page needs other files"
# A model that two files name counts once; figures of other images are not put beside these; runs of one name are called by their paths.
expect 0 "the page: twice.html" "$program" report run --robustness figures.json figures.json --data part --output twice.html
[[ $(grep -o '"clean_accuracy"' twice.html | wc -l) == "$(grep -o '"clean_accuracy"' page.html | wc -l)" ]] || fault "a model of two files is counted twice"
expect 0 "all figures: few.json" "$program" evaluate run/model.safetensors --data part --corruptions --images 8 --output few.json
expect 2 "few.json: the figures are of" "$program" report run --robustness figures.json few.json --data part --output other.html
mkdir inner && cp -r run inner/
expect 0 "the page: named.html" "$program" report run inner/run --data part --output named.html
grep -q '"name":"inner/run"' named.html || fault "two runs of one name: $(grep -o '"name":"[^"]*"' named.html | tr '\n' ' ')"
# A run of another revision of the recipe is no part of a study.
sed 's/"recipe_revision":[0-9]*/"recipe_revision":1/' run/log.jsonl >inner/run/log.jsonl
mkdir older && cp -r inner/run older/article-full-3
expect 2 "was made with recipe_revision 1, the study asks for" "$program" study --net article --attention full --seeds 4 --epochs 2 --batch-size 32 --data part --output older
rm -r inner older twice.html named.html few.json
# Runs of two recipes are not compared.
expect 0 "the page: mixed.html" "$program" report run again arm-none --data part --output mixed.html
for words in '"arms":\[{"net":"article","attention":"full","n":1' "run is left out: again has the same net, attention and seed, and comes later." "arm-none is left out: it was made with epochs 1, run with 2."; do
  grep -q "$words" mixed.html || fault "mixed.html does not hold $words"
done
grep -q '"attention":"none","n":1' mixed.html && fault "a run of another recipe is compared"
printf 'P6\n40 30\n255\n' >picture.ppm
head -c 3600 part/test_batch.bin >>picture.ppm
head -c 2000 picture.ppm >short.ppm
expect 0 "%" "$program" predict run/model.safetensors picture.ppm picture.ppm --overlay seen.png
[[ $(head -c 8 seen.png | od -An -tx1 | tr -d ' \n') == 89504e470d0a1a0a ]] || fault "the overlay is no PNG"
[[ $(grep -c "%" <<<"$output") == 2 ]] || fault "one line a picture: $output"
expect 0 "where the model looked: seen.png" "$program" predict run/model.safetensors picture.ppm --overlay seen.png --overwrite
looks() {  # NAME OPTION...: the overlay NAME.png
  expect 0 "where the model looked: $1.png" "$program" predict run/model.safetensors picture.ppm --overlay "$1.png" "${@:2}"
}
for what in received heads rollout relevance; do looks "$what" --show "$what"; done
mapfile -t classes <part/batches.meta.txt
for class in 3 6; do looks "relevance-$class" --show relevance --class "${classes[$class]}"; done
for token in "1 1" "7 7"; do looks "token-${token% *}" --token $token; done
looks rollout-token --show rollout --token 7 7
shown=(received heads rollout relevance relevance-3 relevance-6 token-1 token-7 rollout-token)
for one in "${shown[@]}"; do
  for other in "${shown[@]}"; do [[ $one == "$other" ]] || ! cmp -s "$one.png" "$other.png" || fault "$one shows what $other shows"; done
done
expect 2 "--class fish: expected one of " "$program" predict run/model.safetensors picture.ppm --overlay other.png --show relevance --class fish
expect 2 "expected --show relevance" "$program" predict run/model.safetensors picture.ppm --overlay other.png --class "${classes[3]}"
expect 2 "--token 8 1: the model has 7 x 7 tokens; expected 1 1 to 7 7" "$program" predict run/model.safetensors picture.ppm --overlay other.png --token 8 1
expect 2 "relevance is that of all tokens" "$program" predict run/model.safetensors picture.ppm --overlay other.png --show relevance --token 1 1
[[ ! -e other.png ]] || fault "a refused overlay was written"

# Steps take the place of others, each file of them, if that is asked for alone.
expect 0 "written to made" "$program" export made --net article --steps 2 --batch-size 8 --data part --each-step
for kept in weights.1 gradients.1 final; do
  mkdir held && cp "made/$kept.safetensors" held/
  expect 2 "the folder holds $kept.safetensors already" "$program" export held --net article --steps 1 --batch-size 8 --data part
  cmp -s "made/$kept.safetensors" "held/$kept.safetensors" && [[ $(ls held) == "$kept.safetensors" ]] || fault "held: $(ls held)"
  rm -r held
done
expect 0 "written to made" "$program" export made --net article --steps 1 --batch-size 8 --data part --overwrite
[[ ! -e made/weights.0.safetensors && ! -e made/gradients.1.safetensors ]] || fault "files of steps that were replaced: $(ls made)"
rm -r made

expect 0 "as ONNX" "$program" export run/model.safetensors --onnx net.onnx
for words in attention/scores whiten.weight class_names LayerNormalization; do
  grep -qa "$words" net.onnx || fault "net.onnx does not hold $words"
done

# --- what is wrong gets a sentence, exit code 2, and changes nothing -----------------------------------------------------------------
cp picture.ppm picture.png
cp run/model.safetensors model.png
before=$(cat run/log.jsonl run/model.safetensors part/* *.png *.json *.html | cksum)
listed=$(find . | sort)
expect 2 "holds a run" "$program" train --net article --data part --output run
expect 2 "--net" "$program" train --net huge --data part --output run --overwrite
expect 2 "--epochs" "$program" train --epochs 0 --data part --output run --overwrite
expect 2 "--label-smoothing" "$program" train --label-smoothing 1.5 --data part --output run --overwrite
for number in learning-rate weight-decay attention-learning-rate attention-weight-decay logit-scale label-smoothing average; do
  for wrong in nan inf -1; do
    expect 2 "expected, '$wrong' given" "$program" train "--$number" "$wrong" --data part --output run --overwrite
  done
done
expect 2 "--average" "$program" train --average 1 --data part --output run --overwrite
expect 2 "--translate" "$program" train --translate -1 --data part --output run --overwrite
expect 2 "translate is 32, expected 0 to 31" "$program" train --translate 32 --data part --output run --overwrite
expect 2 "cutout is 33, expected 0 to 32" "$program" train --cutout 33 --data part --output run --overwrite
expect 2 "--batch-size 1000000" "$program" train --batch-size 1000000 --data part --output run --overwrite
expect 2 "--validation 320" "$program" train --validation 320 --data part --output run --overwrite
expect 2 "no such folder" "$program" train --data nowhere --output run --overwrite
expect 2 "expected a folder" "$program" train --data part --output picture.ppm
expect 2 "cifar10" "$program"
expect 2 "views" "$program" evaluate run/model.safetensors --data part --views 3
expect 2 "choose another one" "$program" evaluate run/model.safetensors --data part --logits run/model.safetensors
expect 2 "part/test_batch.bin: --logits names a file that is read" "$program" evaluate run/model.safetensors --data part --logits part/test_batch.bin --overwrite
# What could not be written is known before there is work.
expect 2 "said.safetensors: the file exists already" "$program" evaluate missing.safetensors --data part --logits said.safetensors
expect 2 "nowhere/said.safetensors: cannot create" "$program" evaluate missing.safetensors --data part --logits nowhere/said.safetensors
expect 2 "figures.json: the file exists already" "$program" evaluate missing.safetensors --data part --corruptions --output figures.json
expect 2 "nowhere/figures.json: cannot create" "$program" evaluate missing.safetensors --data part --corruptions --output nowhere/figures.json
expect 2 "nowhere/page.html: cannot create" "$program" report missing --data part --output nowhere/page.html
expect 2 "seen.png: the file exists already" "$program" predict missing.safetensors picture.ppm --overlay seen.png
expect 2 "nowhere/seen.png: cannot create" "$program" predict missing.safetensors picture.ppm --overlay nowhere/seen.png
expect 2 "seen.jpg: --overlay writes a PNG file" "$program" predict missing.safetensors picture.ppm --overlay seen.jpg
expect 2 "--deletion" "$program" evaluate run/model.safetensors --data part --corruptions --deletion
expect 2 "--views" "$program" evaluate run/model.safetensors --data part --deletion --views 6
expect 2 "trained with --attention none" "$program" evaluate arm-none/model.safetensors --data part --deletion
expect 2 "--logits" "$program" evaluate run/model.safetensors --data part --corruptions --logits logits.safetensors
expect 2 "expected one" "$program" evaluate run/model.safetensors again/model.safetensors --data part
expect 2 "--against names 1 models, expected 2" "$program" evaluate run/model.safetensors again/model.safetensors --data part --corruptions \
  --against arm-none/model.safetensors
expect 2 "expected models that differ by their seeds" "$program" evaluate run/model.safetensors arm-none/model.safetensors --data part --corruptions --images 2
expect 2 "again/model.safetensors: the model is that of run/model.safetensors" "$program" evaluate run/model.safetensors again/model.safetensors --data part --corruptions --images 2
expect 2 "missing.safetensors" "$program" evaluate run/model.safetensors --data part --corruptions --against missing.safetensors
expect 2 "choose another one" "$program" evaluate run/model.safetensors --data part --corruptions --output run/model.safetensors
expect 2 "exists already" "$program" report run --data part --output page.html
for read in run/model.safetensors run/log.jsonl figures.json part/test_batch.bin part/batches.meta.txt; do
  expect 2 "$read: --output names a file that is read" "$program" report run --robustness figures.json --data part --output "$read" --overwrite
done
expect 2 "nowhere/model.safetensors" "$program" report run nowhere --data part --output other.html
expect 2 "expected what cifar10 evaluate" "$program" report run --robustness run/log.jsonl --data part --output other.html
# Files of strangers: deep brackets and missing keys.
mkdir strange && ln run/model.safetensors strange/ && brackets=$(printf '[%.0s' {1..100000})$(printf ']%.0s' {1..100000})
echo "{\"models\":[{\"clean_accuracy\":$brackets,\"accuracy\":{}}]}" >strange/deep.json
expect 2 "strange/deep.json: at offset 90: expected at most 64 levels" "$program" report run --robustness strange/deep.json --data part --output other.html
{ head -n 1 run/log.jsonl; echo "{\"event\":\"epoch\",\"more\":$brackets}"; } >strange/log.jsonl
expect 2 "strange/log.jsonl: record 2: at offset" "$program" report strange --data part --output other.html
sed '$s/"test_accuracy":/"accuracy":/' run/log.jsonl >strange/log.jsonl
expect 2 "expected \"test_accuracy\" to be a number, found nothing; the log is damaged" "$program" report strange --data part --output other.html
rm -r strange
expect 2 "missing.safetensors" "$program" evaluate missing.safetensors --data part
expect 2 "no such file" "$program" predict run/model.safetensors missing.png
expect 2 "cannot be read" "$program" predict run/model.safetensors part/batches.meta.txt
expect 2 "short.ppm" "$program" predict run/model.safetensors short.ppm
for overlay in picture.png model.png; do
  expect 2 "choose another one" "$program" predict model.png picture.png --overlay "$overlay"
  expect 2 "choose another one" "$program" predict model.png picture.png --overlay "$overlay" --overwrite
done
expect 2 "from 0" "$program" train --data part --seed -1
expect 0 "heed" "$program" --version
expect 2 "exists already" "$program" export run/model.safetensors --onnx net.onnx
expect 2 "a file that is read" "$program" export run/model.safetensors --onnx run/model.safetensors --overwrite
expect 2 "--steps" "$program" export run/model.safetensors --onnx other.onnx --steps 2
expect 2 "missing.safetensors" "$program" export missing.safetensors --onnx other.onnx
expect 2 "no attention to show" "$program" predict arm-none/model.safetensors picture.ppm --overlay seen.png --overwrite
[[ $(find . | sort) == "$listed" ]] || fault "files came or went: $(diff <(echo "$listed") <(find . | sort))"
[[ $(cat run/log.jsonl run/model.safetensors part/* *.png *.json *.html | cksum) == "$before" ]] || fault "files were changed"

head -c 5000 run/model.safetensors >cut.safetensors
expect 2 "cut.safetensors: at offset" "$program" evaluate cut.safetensors --data part
expect 2 "initial.safetensors" "$program" evaluate "$([[ -e steps ]] && echo steps/initial.safetensors || echo none/initial.safetensors)" --data part
sed 's/"net":"article"/"net":"unknown"/; s/"net": "article"/"net": "unknown"/' run/model.safetensors >unknown.safetensors
expect 2 "unknown" "$program" evaluate unknown.safetensors --data part
cp -r part broken
head -c 100000 part/data_batch_3.bin >broken/data_batch_3.bin
expect 2 "data_batch_3.bin: at offset" "$program" train --data broken --output fresh
rm broken/data_batch_3.bin
expect 2 "data_batch_3.bin" "$program" train --data broken --output fresh
[[ ! -e fresh ]] || fault "a run without data left a folder"

# --overwrite replaces.
expect 0 "" "$program" train --net article --epochs 1 --batch-size 160 --data part --output run --overwrite
[[ $(grep -c '"event":"epoch"' run/log.jsonl) == 1 ]] || fault "the old log was kept: $(cat run/log.jsonl)"

# --- Ctrl-C ----------------------------------------------------------------------------------------------------------------------------
interrupt_early "$program" train --net article --epochs 100000 --batch-size 32 --data "$whole" --output run --overwrite --checkpoint-every 1  # epochs of seconds
interrupt '"event":"epoch"' "$program" train --net article --epochs 100000 --batch-size 32 --data part --output stopped
expect 0 "accuracy" "$program" evaluate stopped/model.safetensors --data part
[[ -z $(find . -name '*.part*') ]] || fault "temporary files were left: $(find . -name '*.part*')"
# What was ignored when it started stays so: under nohup a run outlives its terminal.
for signal in HUP INT; do
  (trap "" "$signal"; exec "$program" train --net article --epochs 100000 --batch-size 32 --data part --output "ignoring-$signal") >ignoring.txt 2>&1 &
  for _ in $(seq 100); do grep -q '"event":"epoch"' "ignoring-$signal/log.jsonl" 2>/dev/null && break; sleep 0.1; done
  epochs=$(grep -c '"event":"epoch"' "ignoring-$signal/log.jsonl")
  kill "-$signal" $!
  for _ in $(seq 100); do (($(grep -c '"event":"epoch"' "ignoring-$signal/log.jsonl") > epochs + 2)) && break; sleep 0.1; done
  kill -0 $! || fault "SIG$signal was to be ignored: $(tail -n 3 ignoring.txt)"
  kill -TERM $!
  status=0
  wait $! || status=$?
  [[ $status == 130 ]] || fault "SIGTERM beside an ignored SIG$signal ended with $status: $(tail -n 3 ignoring.txt)"
done

# A rank of a program without MPI would train for itself.
if [[ -z ${HEED_MPIEXEC:-} ]]; then
  OMPI_COMM_WORLD_SIZE=2 expect 2 "started as one of 2 ranks, but built without MPI" "$program" train --data part --output rank
  [[ ! -e rank ]] || fault "a refused rank left a folder"
fi

[[ $failures == 0 ]] && echo "cifar10: all well"
exit $((failures > 0))
