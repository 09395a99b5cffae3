# shellcheck shell=bash
# What the scripts of this folder share. To be sourced, after `set -euo pipefail`.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# Exported, so that the test programs, which ask for runtimes too, look in the same place.
export MINI_HTTP_CACHE="${MINI_HTTP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mini_http}"
# With it, the hosts written in Rust capture a backtrace for every call that returns `AGAIN`, which then takes ten times
# as long.
unset RUST_BACKTRACE

# say WORDS... : a line about what the script does. On stderr, because stdout may be the result.
say() { echo "${0##*/}: $*" >&2; }

# die WORDS... : the same, and ends the script with an error.
die() {
    say "$@"
    exit 1
}

# runtimes_of CHECK NAME... : sets the array `runtimes` to those on which the check runs when it is given
# these names. Without a name, those where it runs by default. Ends if a name is unknown.
runtimes_of() {
    local names
    names="$("$ROOT/ci/run" runtimes "$@")" || exit
    # shellcheck disable=SC2034
    read -r -a runtimes <<<"$names"
}

# runtimes_of_benchmarks NAME... : of these runtimes, those in which benchmarks run. Sets `native`, which is empty if
# native isn't among them, the array `options` to `--runtime NAME` for each of the others, and the array `targets` to
# their targets.
runtimes_of_benchmarks() {
    local wasi names name
    options=()
    targets=()
    # shellcheck disable=SC2034
    native="$("$ROOT/ci/run" runtimes --wasi 0 bench-check "$@")" || exit
    for wasi in 1 2; do
        names="$("$ROOT/ci/run" runtimes --wasi "$wasi" bench-check "$@")" || exit
        [ -z "$names" ] || targets+=("wasm32-wasip$wasi")
        for name in $names; do options+=(--runtime "$name"); done
    done
}

# installed PROGRAM VERSION TAKES COMMAND... : prints the path of a program, and installs it first when
# it isn't in the cache: one folder per name and version, so that versions never mix. The command is
# called with a folder, and puts the program into its `bin`. TAKES is how long it takes, in words. If it can't be
# installed, the script ends with an error. It sets traps: call it last, or as `"$(installed ...)"`.
installed() {
    local program="$1" version="$2" takes="$3" folder path part
    shift 3
    folder="$MINI_HTTP_CACHE/$program-$version"
    path="$folder/bin/$program"
    if [ -x "$path" ]; then
        echo "$path"
        return
    fi

    mkdir -p "$MINI_HTTP_CACHE" || die "can't make the cache $MINI_HTTP_CACHE"
    # Of two installs at once, the second waits and takes what the first has made. A system without
    # flock just builds twice: the rename at the end is atomic.
    if command -v flock >/dev/null; then
        exec 9>"$folder.lock"
        flock -n 9 || {
            say "waiting for another install of $program $version"
            flock 9
        }
        if [ -x "$path" ]; then
            echo "$path"
            return
        fi
        # No other process holds the lock, so these are left from installs that were killed.
        rm -rf "$folder".part.*
    fi

    # Built aside and moved at the end, so that an interrupted install leaves nothing that looks complete.
    part="$(mktemp -d "$folder.part.XXXXXX")"
    # Expanded now, because the name is gone when the trap runs.
    # shellcheck disable=SC2064
    trap "rm -rf '$part'" EXIT
    trap 'exit 130' INT TERM HUP
    say "installing $program $version into $folder ($takes)"
    "$@" "$part" >&2 || die "could not install $program $version: the message is above; is the registry reachable?"
    "$part/bin/$program" --version >&2 || die "$program $version was built but doesn't run"
    # A folder that is there already is that of another install, or lacks the program.
    [ -x "$path" ] || {
        rm -rf "$folder"
        mv "$part" "$folder"
    }
    [ -x "$path" ] || die "$program $version was installed but isn't at $path"
    echo "$path"
}

# cargo_install CRATE VERSION FEATURES FOLDER : for `installed`, a program of crates.io.
cargo_install() {
    # The caller may be cargo, busy with another target.
    unset CARGO_BUILD_TARGET
    # (On PATH, so that cargo doesn't warn that it isn't.)
    PATH="$PATH:$4/bin" CARGO_TARGET_DIR="$4/target" cargo install "$1" --version "$2" \
        --locked --no-default-features --features "$3" --root "$4" || return
    rm -rf "$4/target"
}

# hardly_optimized COMMAND... : a build that optimizes little, for a program whose build takes much longer than its
# runs.
hardly_optimized() {
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 "$@"
}

# rust_components : adds rustfmt and clippy, which rustup's minimal profile lacks.
rust_components() {
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
}

# cargo_home_in FOLDER : makes a home for cargo there, which shares with the usual one only what is from crates.io. For
# any other source, such as a registry in a folder, cargo would keep what it has unpacked, and use it again for the next
# source at the same path.
cargo_home_in() {
    local usual="${CARGO_HOME:-$HOME/.cargo}" part path
    mkdir -p "$1"
    for part in config.toml credentials.toml; do
        [ ! -e "$usual/$part" ] || ln -s "$usual/$part" "$1/$part"
    done
    for part in index cache src; do
        mkdir -p "$1/registry/$part" "$usual/registry/$part"
        for path in "$usual/registry/$part"/index.crates.io-*; do
            [ ! -e "$path" ] || ln -s "$path" "$1/registry/$part/"
        done
    done
}

# docs_rs features|targets : prints those for which docs.rs makes the documentation of mini-http-server, with commas
# between them.
docs_rs() {
    cargo metadata --quiet --locked --no-deps --format-version 1 --manifest-path "$ROOT/Cargo.toml" | python3 -c '
import json, sys
packages = json.load(sys.stdin)["packages"]
package = next(it for it in packages if it["name"] == "mini-http-server")
print(",".join(package["metadata"]["docs"]["rs"][sys.argv[1]]))' "$1"
}

# with_packages FOLDER NAME PROGRAM VARIABLE PACKAGES : makes FOLDER/bin/NAME, which is PROGRAM of PATH with the
# packages in FOLDER/PACKAGES. The folder will be moved, so its path isn't fixed.
with_packages() {
    mkdir -p "$1/bin"
    # shellcheck disable=SC2016
    printf '#!/bin/sh\n%s="$(dirname "$(dirname "$0")")/%s" exec %q "$@"\n' "$4" "$5" "$(command -v "$3")" >"$1/bin/$2"
    chmod +x "$1/bin/$2"
}

# pip_install NAME PACKAGE==VERSION... FOLDER : for `installed`, a Python with packages that no other program sees.
pip_install() {
    local folder="${*: -1}"
    pip_packages "$folder" "${@:2:$#-2}" || return
    with_packages "$folder" "$1" python3 PYTHONPATH packages
}

# pip_packages FOLDER ARGUMENT... : installs what these arguments of pip name into FOLDER/packages.
pip_packages() {
    python3 -m pip --version >/dev/null || {
        say "there is no python3 with pip"
        return 1
    }
    python3 -m pip install --quiet --disable-pip-version-check --no-compile --root-user-action=ignore \
        --target "$1/packages" "${@:2}"
}

# npm_install PROGRAM PACKAGE@VERSION... FOLDER : for `installed`, a program of npm, with the packages.
npm_install() {
    local program="$1" folder="${*: -1}"
    command -v npm >/dev/null || {
        say "there is no npm: install Node 20 or later"
        return 1
    }
    npm install --prefix "$folder" --save-exact --no-fund --no-audit --loglevel=error "${@:2:$#-2}" || return
    mkdir "$folder/bin" && ln -s "../node_modules/.bin/$program" "$folder/bin/$program"
}

# module_arguments ARGUMENT... : divides a runner's arguments. `options` is what a WASI runtime is to
# take: RUST_LOG, RUST_LOG_STYLE, MINI_HTTP_ADDR, MINI_HTTP_FD, and what `--env` and `--dir` say. `own`
# is for the module: all other arguments, and all after a `--`.
module_arguments() {
    local name
    options=()
    own=()
    for name in RUST_LOG RUST_LOG_STYLE MINI_HTTP_ADDR MINI_HTTP_FD; do
        if [ -n "${!name+set}" ]; then options+=(--env "$name=${!name}"); fi
    done
    while [ $# -gt 0 ]; do
        case "$1" in
        --)
            shift
            own+=("$@")
            break
            ;;
        --env=* | --dir=*) options+=("${1%%=*}" "${1#*=}") ;;
        --env | --dir)
            [ $# -ge 2 ] || die "$1 needs a value"
            options+=("$1" "$2")
            shift
            ;;
        *) own+=("$1") ;;
        esac
        shift
    done
}

# version_of PATH : prints the version that a program's --version prints, like 48.0.8.
version_of() {
    "$1" --version 2>/dev/null | head -n 1 | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1
}

# Stages: a script that has several begins with stages_begin, calls each by stage, and ends with
# stages_end. When a stage fails, the next ones still run, so that one run reports all failures.
#
# INTEROP_SUMMARY names a file of lines `PASSED FAILED`, to which the tests from outside add their
# counts. A stage that adds none counts as one check itself, and so does one that fails without having
# counted a failure. A script called by another adds to the other's file. A line may have words: `0 0 WORDS` is what a
# stage leaves out, `0 1 WORDS` what has failed. Both are listed at the end.
stages_begin() {
    STAGES=()
    BESIDE=()
    BESIDE_FAILED=""
    # A command behind these words runs only while a processor has nothing else to do.
    AT_REST=()
    ! command -v chrt >/dev/null || AT_REST=(chrt --idle 0)
    if [ -z "${INTEROP_SUMMARY:-}" ]; then
        INTEROP_SUMMARY="$(mktemp)"
        export INTEROP_SUMMARY
        trap 'rm -f "$INTEROP_SUMMARY"' EXIT
    fi
    STAGES_FROM="$(wc -l <"$INTEROP_SUMMARY")"
}

# leave_out WORDS... : records that a part of the stage isn't run here, and why. Such a stage doesn't count as passed.
leave_out() {
    say "left out: $*"
    [ -z "${INTEROP_SUMMARY:-}" ] || echo "0 0 $*" >>"$INTEROP_SUMMARY"
}

# tests_of ARGUMENT... : `cargo test` with these. Fails if they name no test, which is no failure for cargo.
tests_of() {
    cargo test --quiet "$@" -- --list | grep ': test$' >/dev/null || {
        say "there is no test: cargo test $*"
        return 1
    }
    cargo test --quiet "$@"
}

# words_of KIND FROM : prints the words of the lines `KIND WORDS`, after the summary's first FROM lines. KIND is `0 0`
# or `0 1`.
words_of() { tail -n "+$(($2 + 1))" "$INTEROP_SUMMARY" | sed -n "s/^$1 //p"; }

# counts LINES : prints `PASSED FAILED`, added up over the summary without its first LINES lines.
counts() { awk -v skip="$1" 'NR > skip { p += $1; f += $2 } END { print p + 0, f + 0 }' "$INTEROP_SUMMARY"; }

# stage_ended OUTCOME NAME FROM : adds a line to the summary if the stage needs one. The lines that it has added itself
# come after the first FROM lines.
stage_ended() {
    local passed failed
    read -r passed failed < <(counts "$3")
    case "$1 $passed $failed" in
    "ok 0 0") [ -n "$(words_of "0 0" "$3")" ] || echo "1 0" >>"$INTEROP_SUMMARY" ;;
    "FAILED "*" 0") echo "0 1 $2" >>"$INTEROP_SUMMARY" ;;
    esac
}

# stage NAME COMMAND... : runs one, and says how long it took.
stage() {
    local name="$1" start="$SECONDS" outcome=ok lines
    shift
    echo "== $name"
    lines="$(wc -l <"$INTEROP_SUMMARY")"
    "$@" || outcome=FAILED
    stage_ended "$outcome" "$name" "$lines"
    STAGES+=("$(printf '%-6s %5d s  %s' "$outcome" "$((SECONDS - start))" "$name")")
    echo "== $name: $outcome in $((SECONDS - start)) s"
}

# beside NAME COMMAND... : starts a stage that only computes. It runs while the next stages do, which mostly wait, and
# gets the processor time that they leave. Two such stages run at a time, in their order. For what isn't timed, and
# doesn't need the build directory of the others. stages_joined waits for all of them.
beside() {
    local name="$1" folder
    shift
    folder="$(mktemp -d)"
    BESIDE+=("$folder")
    echo "$name" >"$folder/name"
    touch "$folder/summary"
    echo "== $name: beside the next stages"
    (
        trap - EXIT
        exec >"$folder/output" 2>&1
        while [ "$(unfinished)" -gt 2 ]; do sleep 1; done
        # shellcheck disable=SC2030
        export INTEROP_SUMMARY="$folder/summary"
        start="$(date +%s)" outcome=ok
        # (An empty array is an error in the bash of macOS.)
        "${AT_REST[@]+"${AT_REST[@]}"}" "$@" || outcome=FAILED
        stage_ended "$outcome" "$name" 0
        # Moved, so that it is there only as a whole.
        echo "$outcome $(($(date +%s) - start))" >"$folder/ended"
        mv "$folder/ended" "$folder/outcome"
    ) &
}

# unfinished : the number of stages beside that have not ended, up to the one that asks.
unfinished() {
    local folder count=0
    for folder in "${BESIDE[@]}"; do
        [ -e "$folder/outcome" ] || [ ! -d "$folder" ] || count=$((count + 1))
    done
    echo "$count"
}

# stages_joined : waits for the stages beside, and shows what they have printed.
stages_joined() {
    local folder name outcome took start="$SECONDS"
    for folder in "${BESIDE[@]+"${BESIDE[@]}"}"; do
        name="$(cat "$folder/name")"
        echo "== $name (was beside)"
        while [ ! -e "$folder/outcome" ]; do sleep 1; done
        cat "$folder/output"
        read -r outcome took <"$folder/outcome"
        # shellcheck disable=SC2031
        cat "$folder/summary" >>"$INTEROP_SUMMARY"
        if [ "$outcome" = FAILED ]; then
            BESIDE_FAILED+="$(printf '\n== the last lines of %s\n' "$name" && tail -n 30 "$folder/output")"$'\n'
        fi
        STAGES+=("$(printf '%-6s %5d s  %s (beside others)' "$outcome" "$took" "$name")")
        echo "== $name: $outcome in $took s"
        rm -rf "$folder"
    done
    [ ${#BESIDE[@]} = 0 ] || STAGES+=("$(printf '       %5d s  waited for them' "$((SECONDS - start))")")
    BESIDE=()
}

# stages_end : prints the last lines of the failed stages beside, the list of the stages, what was left out, what has
# failed, and the counts as the last line. Fails if anything has failed.
stages_end() {
    local passed failed
    stages_joined
    read -r passed failed < <(counts "$STAGES_FROM")
    printf '%s\n' "$BESIDE_FAILED" "${STAGES[@]}"
    printf '       %5d s  all of %s\n' "$SECONDS" "${0##*/}"
    words_of "0 0" "$STAGES_FROM" | sed 's/^/left out: /'
    words_of "0 1" "$STAGES_FROM" | sed 's/^/failed: /'
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
