#!/usr/bin/env bash
# Takes map.png, report.png and batch-session.txt again: bash docs/make_pictures.sh IMAGE IMAGE IMAGE
#
# IMAGES are what the report is about. Run it on an idle machine, as the report shows seconds, with
# Chromium and the command pixelcodec installed.
set -euo pipefail

docs=$(cd "$(dirname "$0")" && pwd)
examples=$docs/../examples
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "$@" "$scratch"
cd "$scratch"

pixelcodec encode "$examples/kodim23.png" -o kodim23.pxc
pixelcodec map kodim23.pxc --width 560 -f -o "$docs/map.png"

pixelcodec compare "${@##*/}" -q --html report.html
chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
    --disable-background-networking --user-data-dir="$scratch/profile" \
    --window-size=1000,1580 --screenshot="$docs/report.png" "file://$scratch/report.html"

# What a person would type, and what is printed.
typed() {
    echo "\$ $*"
    bash -c "$*" 2>&1 && status=0 || status=$?
}
its_status() {
    printf '$ echo $?\n%s\n' "$status"
}
cp -R "$examples" examples
{
    cat <<'END'
A batch on the command line, with one broken file in it.

What follows is what these commands printed, run one after the other in a folder with a copy of examples/, standard output and
standard error together. On a terminal there is also a bar below the lines as long as the work goes on, such as

4 of 5 files ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╺━━━━━  86% 0.8 megapixels, 205,550 pixels/s, 2.505 bpsp 0:00:02


END
    typed 'mkdir -p photos/holiday'
    typed 'cp examples/kodim23.png examples/kitten-gray.png photos'
    typed 'cp examples/lake.png examples/dragonfly.png photos/holiday'
    typed 'head -c 200000 examples/lake.png > photos/holiday/broken.png'
    typed 'pixelcodec encode -r photos --out-dir archive -j 2'
    its_status
    typed 'find archive -type f | sort'
    typed 'rm photos/holiday/broken.png'
    typed 'pixelcodec encode -r photos --out-dir archive -j 2 --skip-existing'
    typed 'pixelcodec verify -r archive -j 2'
    typed 'pixelcodec verify archive/kodim23.pxc photos/kodim23.png'
    typed 'pixelcodec decode -r archive --out-dir restored'
    typed 'pixelcodec encode photos/kodim23.png photos/kodim23.jpg --out-dir archive'
    its_status
    typed 'pixelcodec decode archive/kodim23.pxc -o restored/kodim23.png'
} > "$docs/batch-session.txt"
