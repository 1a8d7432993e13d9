# shellcheck shell=bash
# Processes of a data directory: started in the background, known again by process id and start time, stopped one by one.
#
# $data_dir/run/NAME.pid holds "PID START", $data_dir/logs/NAME.log what the process wrote. Sourced, never run.

# What a process is told when its data directory's owner stops it, by name; everything else gets TERM.
declare -A stop_signal=([postgresql]=INT)

# shellcheck source=SCRIPTDIR/messages.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/messages.sh"

# require_linux: what is used beside bash and coreutils.
require_linux() {
    local program
    [[ -r /proc/self/stat ]] || die 69 "this needs Linux, for /proc says which processes run"
    for program in setsid flock; do
        command -v "$program" >/dev/null || die 69 "$program is not installed, which is part of util-linux"
    done
}

# open_data_dir DIR: makes it, and sets data_dir to its absolute path.
open_data_dir() {
    mkdir -p "$1" || die 1 "cannot make the directory $1"
    data_dir="$(cd -- "$1" && pwd -P)"
    # What is in it is nobody else's, whatever writes it.
    umask 077
    mkdir -p "$data_dir/run" "$data_dir/logs"
    # Of root's directory others may pass through to what is theirs, since PostgreSQL refuses to run as root.
    if [[ "$(id -u)" == 0 ]]; then chmod 711 "$data_dir"; else chmod 700 "$data_dir"; fi
}

# lock_data_dir: one script at a time works on a data directory.
lock_data_dir() {
    exec 9>"$data_dir/run/lock"
    flock -w 300 9 || die 1 "another start or stop of $data_dir has been running for five minutes"
}

# started_at PID: when it was started, or nothing when there is no such process or only its corpse.
started_at() {
    local stat fields
    stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 0
    # The name in parentheses may have spaces; state is the first field after it, the start time the twentieth.
    read -r -a fields <<<"${stat##*) }"
    [[ "${fields[0]}" == [ZX] ]] || printf '%s' "${fields[19]}"
}

# pid_of NAME: the process id of a process of ours that runs, or nothing. An id that somebody else has by now is not ours.
pid_of() {
    local pid start
    read -r pid start 2>/dev/null <"$data_dir/run/$1.pid" || return 0
    if [[ -n "$start" && "$(started_at "$pid")" == "$start" ]]; then
        printf '%s' "$pid"
    fi
}

runs() {
    [[ -n "$(pid_of "$1")" ]]
}

log_of() {
    printf '%s' "$data_dir/logs/$1.log"
}

# stop_command: what stops all of it, to be shown and copied.
stop_command() {
    printf 'scripts/stop-microservices.sh --data-dir %q' "$data_dir"
}

# launch NAME COMMAND...: starts it detached from this terminal.
launch() {
    local name=$1 pid
    shift
    printf '=== started %s\n' "$(date -u '+%Y-%m-%dT%H:%M:%SZ')" >>"$(log_of "$name")"
    # The lock is this script's, and not inherited.
    setsid "$@" </dev/null >>"$(log_of "$name")" 2>&1 9>&- &
    pid=$!
    disown "$pid"
    printf '%s %s\n' "$pid" "$(started_at "$pid")" >"$data_dir/run/$name.pid"
}

# await NAME SECONDS COMMAND...: until the command succeeds; ends the script when the process ends or time is over.
await() {
    local name=$1 limit=$2 deadline
    shift 2
    deadline=$((SECONDS + limit))
    until "$@" >/dev/null 2>&1; do
        if ! runs "$name"; then
            give_up "$name ended before it was ready"
        elif ((SECONDS >= deadline)); then
            give_up "$name is not ready after $limit s"
        fi
        sleep 0.1
    done
}

# give_up MESSAGE: names the log of the process that the message begins with.
give_up() {
    local name=${1%% *}
    warn "error: $1"
    warn "The end of its log, $(log_of "$name"):"
    tail -n 20 "$(log_of "$name")" | sed 's/^/    /' >&2
    warn "What was started goes on to run; $(stop_command) stops it."
    exit 1
}

# terminate NAME SECONDS: asks it to end, waits, and kills it only when it does not.
terminate() {
    local name=$1 limit=$2 pid deadline
    pid="$(pid_of "$name")"
    if [[ -n "$pid" ]]; then
        kill -s "${stop_signal[$name]:-TERM}" "$pid" 2>/dev/null || true
        deadline=$((SECONDS + limit))
        while runs "$name" && ((SECONDS < deadline)); do sleep 0.1; done
        if runs "$name"; then
            warn "$name (process $pid) has not ended within $limit s; it is killed"
            kill -s KILL "$pid" 2>/dev/null || true
            deadline=$((SECONDS + 10))
            while runs "$name"; do
                ((SECONDS < deadline)) || die 1 "$name (process $pid) cannot be killed"
                sleep 0.1
            done
        fi
        say "stopped $name"
    fi
    rm -f "$data_dir/run/$name.pid"
}

# names_like PREFIX: names of processes that have a pid file, the last replica first.
names_like() {
    local file
    for file in "$data_dir"/run/"$1"*.pid; do
        if [[ -e "$file" ]]; then basename "$file" .pid; fi
    done | sort -t- -k2,2nr
}

# is_busy PORT: whether somebody listens there on this machine's loopback interface.
is_busy() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# get_status PORT PATH: the status of an HTTP answer.
get_status() (
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
    read -r -t 5 line <&3 || exit 1
    line=${line#HTTP/* }
    printf '%s' "${line%% *}"
)

# is_ready PORT: whether the service there says that it takes requests.
is_ready() {
    [[ "$(get_status "$1" /ready)" == 200 ]]
}

# secret NAME: reads a secret of this data directory, made up the first time.
secret() {
    local file="$data_dir/secrets/$1"
    mkdir -p "$data_dir/secrets"
    if [[ ! -s "$file" ]]; then
        (od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$file.new" && mv "$file.new" "$file")
    fi
    cat "$file"
}
