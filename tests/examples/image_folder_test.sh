#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The program image_folder from the outside: it learns a folder of pictures, names them, and says what is wrong with a folder.
set -u
program=${HEED_BIN_DIR:?}/image_folder
made=${HEED_MADE_DIR:-$HEED_BIN_DIR/../examples/embed}  # frames of 32 x 32 drawn shapes, and their labels
[[ -x $program && -f $made/frames.rgb ]] || exit 77
source "$(dirname "${BASH_SOURCE[0]}")/expect.sh"

# --- pictures: three classes, one of them in two folders, and what is no picture ------------------------------------------------------------
mkdir -p pictures/{disc,stripes,check/more,.thumbnails,none}
number=0
while read -r label; do
  case $label in
    0) folder=pictures/disc ;;
    6) folder=pictures/stripes ;;
    7) if ((number % 20 < 10)); then folder=pictures/check; else folder=pictures/check/more; fi ;;
    *) folder= ;;
  esac
  if [[ -n $folder ]]; then
    { printf 'P6\n32 32\n255\n'; dd if="$made/frames.rgb" bs=3072 skip=$number count=1 status=none; } >"$folder/$number.PPM"
  fi
  number=$((number + 1))
done <"$made/labels.txt"
echo "not a picture" >pictures/disc/notes.txt
echo "not a picture, whatever it is called" >pictures/disc/broken.png
echo "of a telephone" >pictures/none/1.HEIC
echo "hidden" >pictures/.thumbnails/a.png
echo "hidden" >pictures/disc/.b.png

# --- a run ---------------------------------------------------------------------------------------------------------------------------
small=(--size 32 --width 16)
expect 0 "120 pictures of 3 classes to learn, 30 held out" "$program" train pictures "${small[@]}" --output run --seed 2
[[ $output == *"left out: pictures/disc/broken.png: expected a PNG"* && $output == *"stripes"* ]] || fault "what is learned is not told: $output"
for words in "2 files of kinds that are not read: 1 .heic, 1 .txt" "1 folder without PNG, JPEG or PPM pictures: none"; do
  [[ $output == *"left out: $words"* ]] || fault "'$words' is not told: $output"
  head -n 1 run/log.jsonl | grep -qF "$words" || fault "'$words' is not in the log: $(head -n 1 run/log.jsonl)"
done
head -n 1 run/log.jsonl | grep -qF '"left_out":["pictures/disc/broken.png: expected a PNG' || fault "what was left out is not in the log: $(head -n 1 run/log.jsonl)"
[[ $(grep -c '"event":"epoch"' run/log.jsonl) == 30 ]] || fault "log: $(cat run/log.jsonl)"
# 63 % when it was written (other seeds 70 to 87 %); chance gives 33 %.
grep '"epoch":30' run/log.jsonl | grep -q '"accuracy":\(1\|0\.[5-9]\)' || fault "expected at least half of what was held out: $(tail -n 3 run/log.jsonl)"
hash_of() { tail -n 1 "$1/log.jsonl" | grep -o '"weights_hash":"[0-9a-f]*"'; }
expect 0 "" "$program" train pictures/ "${small[@]}" --output again --seed 2 --threads 1
[[ $(hash_of run) == "$(hash_of again)" ]] || fault "one seed, two models: $(hash_of run) and $(hash_of again)"
expect 0 "0 held out" "$program" train pictures "${small[@]}" --epochs 1 --held-out 0 --no-flip --batch-size 1000 --output all
[[ $output != *"held-out pictures"* ]] || fault "nothing was held out, but judged: $output"
expect 0 "" "$program" train pictures "${small[@]}" --epochs 1 --held-out 0 --batch-size 1000 --output mirrored
[[ $(hash_of all) != "$(hash_of mirrored)" ]] || fault "--no-flip changes nothing"

# --- what pictures show ----------------------------------------------------------------------------------------------------------------
right=0
for name in disc stripes check; do
  for picture in pictures/$name/?.PPM pictures/$name/??.PPM; do
    [[ $("$program" predict run/model.safetensors "$picture") == "$picture: $name "* ]] && right=$((right + 1))
  done
done
((right >= 20)) || fault "$right pictures of the first 25 were named right"
expect 0 "where the model looked: seen.png" "$program" predict run/model.safetensors pictures/disc/0.PPM pictures/stripes/6.PPM --overlay seen.png
expect 0 "where the model looked: seen.png" "$program" predict run/model.safetensors pictures/disc/0.PPM pictures/stripes/6.PPM --overlay seen.png --overwrite
[[ $(head -c 8 seen.png | od -An -tx1 | tr -d ' \n') == 89504e470d0a1a0a ]] || fault "the overlay is no PNG"

# --- what is wrong gets a sentence, exit code 2, and changes nothing -----------------------------------------------------------------
cp pictures/disc/0.PPM copy.png
mkdir telephone && cp -r pictures/none telephone/
before=$(cat run/* *.png | cksum)
listed=$(find . | sort)
expect 2 "holds a run" "$program" train pictures --output run
expect 2 "nowhere: no such folder" "$program" train nowhere --output fresh
expect 2 "expected a folder, found a file" "$program" train pictures/disc/0.PPM --output fresh
expect 2 "for each of two or more classes (pictures/check/cat/1.jpg, pictures/check/dog/1.jpg), found 1" "$program" train pictures/check --output fresh
expect 2 "found 0; 1 file of kinds that are not read: 1 .heic; 1 folder without PNG, JPEG or PPM pictures: none" "$program" train telephone --output fresh
expect 2 "multiple of 8 from 16 to 256" "$program" train pictures --size 30 --output fresh
expect 2 "multiple of 4 from 4 to 256" "$program" train pictures --width 6 --output fresh
expect 2 "--epochs" "$program" train pictures --epochs 0 --output fresh
expect 2 "0 to below 1" "$program" train pictures --held-out 1 --output fresh
expect 2 "pictures" "$program" train
expect 2 "missing.safetensors" "$program" predict missing.safetensors pictures/disc/0.PPM
expect 2 "missing.png: no such file" "$program" predict run/model.safetensors missing.png
expect 2 "choose another one" "$program" predict run/model.safetensors copy.png --overlay copy.png --overwrite
expect 2 "seen.png: the file exists already" "$program" predict missing.safetensors pictures/disc/0.PPM --overlay seen.png
expect 2 "nowhere/seen.png: cannot create" "$program" predict missing.safetensors pictures/disc/0.PPM --overlay nowhere/seen.png
expect 2 "0.PPM: --overlay writes a PNG file" "$program" predict run/model.safetensors pictures/disc/0.PPM --overlay pictures/disc/0.PPM
expect 0 "heed" "$program" --version
[[ $(find . | sort) == "$listed" ]] || fault "files came or went: $(diff <(echo "$listed") <(find . | sort))"
[[ $(cat run/* *.png | cksum) == "$before" ]] || fault "files were changed"

mkdir -p few/{a,b}
cp pictures/disc/0.PPM few/a/
cp pictures/stripes/6.PPM pictures/stripes/16.PPM few/b/
expect 2 "class \"a\" has 1 readable pictures, of which 1 are held out; expected one more" "$program" train few --output fresh
head -c 5000 run/model.safetensors >cut.safetensors
expect 2 "cut.safetensors: at offset" "$program" predict cut.safetensors pictures/disc/0.PPM
sed 's/"width":"16"/"width":"32"/' run/model.safetensors >wide.safetensors
expect 2 "of another model" "$program" predict wide.safetensors pictures/disc/0.PPM
sed 's/"size":"32"/"size":"33"/' run/model.safetensors >odd.safetensors
expect 2 "expected a multiple of 8" "$program" predict odd.safetensors pictures/disc/0.PPM
sed 's/heed-image-folder/heed-image-holder/' run/model.safetensors >holder.safetensors
expect 2 "heed-image-holder" "$program" predict holder.safetensors pictures/disc/0.PPM
[[ ! -e fresh ]] || fault "a run that was refused left a folder"
before=$(cksum <run/model.safetensors)
expect 2 "the held-out pictures cannot be judged after epoch 1, a smaller --learning-rate may help: evaluate: the loss of the images 0 to 29 is nan" "$program" train pictures "${small[@]}" --epochs 1 --batch-size 1000 --learning-rate 1e14 --output run --overwrite
[[ $(cksum <run/model.safetensors) == "$before" ]] || fault "a model whose loss is no number took the place of a good one"

# --- Ctrl-C ----------------------------------------------------------------------------------------------------------------------------
# The model is there after the first epoch: a program that is killed leaves it.
"$program" train pictures "${small[@]}" --epochs 1000000 --output killed >killed.txt 2>&1 &
for _ in $(seq 100); do grep -q '"event":"epoch"' killed/log.jsonl 2>/dev/null && break; sleep 0.2; done
kill -KILL $!
wait $! 2>/dev/null
expect 0 "%" "$program" predict killed/model.safetensors pictures/disc/0.PPM
rm -r killed  # with it the temporary file of a program that was killed while it wrote: nothing can take that away
interrupt_early "$program" train pictures --size 256 --batch-size 8 --output run --overwrite  # epochs of seconds
interrupt '"event":"start"' "$program" train pictures "${small[@]}" --epochs 1000000 --output stopped
expect 0 "%" "$program" predict stopped/model.safetensors pictures/disc/0.PPM
[[ -z $(find . -name '*.part*') ]] || fault "temporary files were left: $(find . -name '*.part*')"

[[ $failures == 0 ]] && echo "image_folder: all well"
exit $((failures > 0))
