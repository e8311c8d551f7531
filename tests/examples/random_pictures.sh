# SPDX-License-Identifier: MIT
# Data for short runs of cifar10 train, in the folder part, and what is compared of such runs.

# Pictures of any kind: 320 of random bytes, and labels.
mkdir part
for name in data_batch_{1,2,3,4,5} test_batch; do
  for label in 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1; do
    printf "\\x0$label"
    head -c 3072 /dev/urandom
  done >part/$name.bin
done
printf '%s\n' airplane automobile bird cat deer dog frog horse ship truck >part/batches.meta.txt

# What must be equal: the log without times, speeds, threads and ranks.
same_part() { sed -E 's/"(train_seconds|images_per_second|threads|ranks)":[^,}]*,?//g' "$1/log.jsonl"; }
# The step of all, of 10 an epoch, at which a run says that it was resumed.
resumed_at() { echo $(($(sed -nE 's/^resumed at step ([0-9]+) of epoch ([0-9]+)$/\1 + 10 * (\2 - 1)/p' "$1"))); }
