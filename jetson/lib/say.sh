# shellcheck shell=bash
# What the script says, what it writes down, and how it runs a command.  Sourced by install.sh.

PROBLEMS=()   # one line each: what is wrong and what to do
STATUS=0      # exit status of the first problem
FACTS=()      # "name<TAB>value", for the report
LOG=/dev/null
CHILD=""

# say TEXT: a line for the user, and for the log.
say() {
    printf '%s\n' "$1"
    if [[ $LOG != /dev/null ]]; then
        printf '%(%Y-%m-%dT%H:%M:%S)T %s\n' -1 "$1" >> "$LOG"
    fi
}

# warn TEXT: the run goes on.
warn() {
    say "warning: $1"
    fact warning "$1"
}

# problem STATUS TEXT: the run cannot go on; later checks still speak.
problem() {
    PROBLEMS+=("$2")
    ((STATUS != 0)) || STATUS=$1
    say "problem: $2" >&2
    fact problem "$2"
}

# fail STATUS TEXT: end now.
fail() {
    problem "$1" "$2"
    exit "$1"
}

# fact NAME VALUE: remember for the report.
fact() {
    FACTS+=("$1"$'\t'"${2//[$'\t\n\r']/ }")
}

# run COMMAND...: run with its output in the log; only say what would run with --dry-run.
# The child is waited for in the background, so that a signal to the script ends both at once.
run() {
    if [[ $DRY_RUN == yes ]]; then
        say "would run: ${*@Q}"
        return 0
    fi
    printf '+ %s\n' "${*@Q}" >> "$LOG"
    "$@" >> "$LOG" 2>&1 &
    CHILD=$!
    local status=0
    wait "$CHILD" || status=$?
    CHILD=""
    return "$status"
}

# last_line: the last line that is not empty in the log, without colours.
last_line() {
    sed -e 's/\x1b\[[0-9;]*[A-Za-z]//g' -e 's/[[:space:]]*$//' "$LOG" | grep -v '^$' | tail -n 1
}

# error_line: the error of the command that ran last, or its last line.
error_line() {
    local found
    found=$(tail -n 200 "$LOG" | sed -n '/^+ /h;/^+ /!H;${x;p;}' | grep -E '^(error|ERROR|E:)' | tail -n 1)
    printf '%s' "${found:-$(last_line)}"
}

# on_signal NUMBER: end the command at work; what it left is finished by the next run.
on_signal() {
    if [[ -n $CHILD ]]; then
        kill -TERM "$CHILD" 2> /dev/null || true
        wait "$CHILD" 2> /dev/null || true
    fi
    say "stopped by a signal; run the same command again to go on from here" >&2
    fact problem "stopped by a signal"
    exit $((128 + $1))
}
