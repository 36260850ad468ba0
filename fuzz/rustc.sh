#!/bin/sh
# The compiler for fuzzing: crates that compute on what others have read are compiled as always, since counting their
# branches tells nothing about parsers and takes the compiler a quarter of an hour.
rustc=$1
shift
case " $* " in
*" --crate-name burn_flex "* | *" --crate-name lease_kernels "*) ;;
*) exec "$rustc" "$@" ;;
esac
# Each argument to the end of the list, but for the counters.
for argument in "$@"; do
    shift
    case $argument in
    -Cpasses=sancov-module | -Cllvm-args=-sanitizer-* | -Cllvm-args=-simplifycfg-* | -Ccodegen-units=1) ;;
    *) set -- "$@" "$argument" ;;
    esac
done
exec "$rustc" "$@"
