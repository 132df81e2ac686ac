#!/bin/sh
# Start and stop for a machine without systemd.
#
#   push-ctl.sh {push|push-connector|push-sub|push-api|push-group|push-webhooks}[@INSTANCE] {start|stop|restart|reload|status} [OPTION...]
#
# Everything is in one folder, PUSH_HOME (/opt/push):
#
#   venv/   the virtual environment in which push is installed
#   etc/    push.toml: the settings of all (PUSH_CONFIG names another file); variables PUSH_<SECTION>_<KEY>
#           for all in push.env, and for one in push-api.env, push-connector@2.env, ...: a line each,
#           NAME='value'
#   data/   the data folder, unless PUSH_SERVER_DATA names another one
#   log/    push-api.log, ... (the daemon begins a new file at 1 MB: .log.1 is the one before)
#   run/    push-api.pid, ...
#
# Instances of one daemon ("push-connector@1", "push-connector@2") share its addresses and are named
# HOST-INSTANCE. push-connector@1 to @9 serve health and metrics on 127.0.0.1:6801 to :6809, unless
# PUSH_CONNECTOR_ADMIN says something else. OPTIONs go to the daemon when it is started.
#
# start returns when the daemon is ready, or with one line that says why it is not. One that has no
# Redis yet goes on trying; start waits for it for PUSH_START_SECONDS (30). stop waits for the end,
# for PUSH_STOP_SECONDS (300); a connector sends its sessions elsewhere first. reload sends SIGHUP:
# certificates, keys and the log file are loaded anew, and sessions stay. Exit codes are those of the
# LSB: 0; of status 3: not running, 4: not known; of the others 1: failed, 2: wrong arguments, 4: no
# permission, 5: not installed, 6: not configured, 7: not running.
set -u

say() { printf '%s\n' "$name $*"; }

fail() {
    code=$1
    shift
    printf '%s\n' "$name $*" >&2
    exit "$code"
}

pause() { sleep 0.1 2>/dev/null || sleep 1; }

seconds() { date +%s; }

# --- Processes ---------------------------------------------------------------------------------

# The command line of process $1; nothing for one that has ended.
command_of() {
    if [ -d /proc/self ]; then
        { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null
    else
        ps -ww -o args= -p "$1" 2>/dev/null
    fi
}

# Whether process $1 is the daemon of this pid file, and not a later process with its number.
is_ours() {
    case "$(command_of "$1") " in
    *" --pidfile=$pid_file "*) return 0 ;;
    esac
    return 1
}

# Sets pid when the daemon runs. A pid file without its process counts as none.
running() {
    pid=
    [ -e "$pid_file" ] || return 1
    [ -r "$pid_file" ] || fail 4 "is not known: $pid_file cannot be read"
    read -r pid <"$pid_file" || [ -n "$pid" ] || return 1
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    is_ours "$pid"
}

# Only one start at a time. The file appears with the process id in it, and only if none is there.
take_start_lock() {
    lock=$run/$name.starting
    echo $$ >"$lock.$$" || fail 4 "cannot be started: $run cannot be written"
    while ! ln "$lock.$$" "$lock" 2>/dev/null; do
        holder=$(cat "$lock" 2>/dev/null)
        case "$(command_of "${holder:-none}") " in
        *push-ctl*)
            rm -f "$lock.$$"
            fail 1 "is being started by another command (process $holder)"
            ;;
        esac
        rm -f "$lock"
    done
    rm -f "$lock.$$"
    trap 'rm -f "$lock"' EXIT
    trap 'exit 1' INT TERM HUP
}

# --- What the daemon says ------------------------------------------------------------------------

# What the log has of the last start, also when it went on in a new file meanwhile.
log_of_start() {
    cat "$log_file.1" "$log_file" 2>/dev/null |
        awk '/ starting up\.$/ { n = 0 } { line[n++] = $0 } END { for (i = 0; i < n; i++) print line[i] }'
}

# The log's last word, without time and place: the last problem, or else the last line.
reason_in_log() {
    text=$(log_of_start)
    lines=$(printf '%s\n' "$text" | grep -E '#(warn|error|critical)\]' || printf '%s\n' "$text")
    printf '%s\n' "$lines" | sed -n -e 's/^[^[]*\[[^]]*\] //' -e '$p'
}

# Why twistd, which printed $1, did not start: its last line, without whose it is.
reason() {
    case $1 in
    '' | *"An error has occurred"*) line=$(reason_in_log) ;;
    *) line=$(printf '%s\n' "$1" | sed '/^ *$/d' | tail -n 1) ;;
    esac
    printf '%s\n' "$line" | sed -e 's/^twistd [^ ]*: //' -e 's/^.*: \(Unknown command: \)/\1/'
}

# --- Commands ------------------------------------------------------------------------------------

# In the background, once everything listens or has failed to.
run_daemon() {
    (
        cd "$home" || exit 1
        set -a
        PUSH_SERVER_DATA=${PUSH_SERVER_DATA:-$home/data}
        [ -z "$config" ] || set -- --config "$config" "$@"
        if [ -n "$instance" ]; then
            set -- --reuse-port --server-node "$(uname -n)-$instance" "$@"
            case $name in
            push-connector@[1-9])
                PUSH_CONNECTOR_ADMIN=${PUSH_CONNECTOR_ADMIN-127.0.0.1:680$instance}
                ;;
            esac
        fi
        for file in "$home/etc/push.env" "$home/etc/$name.env"; do
            # shellcheck disable=SC1090  # the user's own
            [ ! -e "$file" ] || . "$file"
        done
        exec "$twistd" --pidfile="$pid_file" --logfile="$log_file" \
            "$daemon" --server-ready-file "$ready_file" "$@"
    )
}

start() {
    if running; then
        say "runs already (process $pid)"
        return
    fi
    [ -x "$twistd" ] || fail 5 "is not installed: there is no $twistd"
    [ -z "${PUSH_CONFIG:-}" ] || [ -r "$config" ] || fail 6 "is not configured: $config cannot be read"
    mkdir -p "$run" "$log" || fail 4 "cannot be started: $home cannot be written"
    take_start_lock
    if running; then # another start was faster
        say "runs already (process $pid)"
        return
    fi
    rm -f "$pid_file" "$ready_file"
    said=$(run_daemon "$@" 2>&1 </dev/null) || {
        rm -f "$pid_file"
        fail 1 "did not start: $(reason "$said")"
    }
    deadline=$(($(seconds) + ${PUSH_START_SECONDS:-30}))
    while running; do
        if [ "$(cat "$ready_file" 2>/dev/null)" = "$pid" ]; then
            say "is ready (process $pid)"
            return
        fi
        [ "$(seconds)" -lt "$deadline" ] ||
            fail 1 "runs (process $pid) but is not ready yet: $(reason_in_log)"
        pause
    done
    rm -f "$pid_file"
    fail 1 "has ended: $(reason '')"
}

stop() {
    if ! running; then
        rm -f "$pid_file"
        say "does not run"
        return
    fi
    kill -TERM "$pid" || fail 4 "cannot be stopped (process $pid)"
    deadline=$(($(seconds) + ${PUSH_STOP_SECONDS:-300}))
    while is_ours "$pid"; do
        [ "$(seconds)" -lt "$deadline" ] ||
            fail 1 "is still ending (process $pid); kill $pid lets it send nobody elsewhere"
        pause
    done
    rm -f "$pid_file"
    say "has ended"
}

reload() {
    running || fail 7 "does not run"
    kill -HUP "$pid" || fail 4 "cannot be told to reload (process $pid)"
    say "was told to reload (process $pid): $log_file says what it loaded"
}

status() {
    if ! running; then
        if [ -e "$pid_file" ]; then
            say "does not run (it was killed: $pid_file is there)"
        else
            say "does not run"
        fi
        exit 3
    fi
    if [ "$(cat "$ready_file" 2>/dev/null)" = "$pid" ]; then
        say "runs (process $pid)"
    else
        say "runs (process $pid) but is not ready yet: $(reason_in_log)"
    fi
}

usage() {
    echo "usage: ${0##*/} {push|push-connector|push-sub|push-api|push-group|push-webhooks}[@INSTANCE]" \
        "{start|stop|restart|reload|status} [OPTION...]" >&2
    exit 2
}

[ $# -ge 2 ] || usage
name=$1
action=$2
shift 2
daemon=${name%%@*}
instance=
case $name in *@*) instance=${name#*@} ;; esac
case $daemon in
push | push-connector | push-sub | push-api | push-group | push-webhooks) ;;
*) usage ;;
esac
case $name in *@ | *@. | *@.. | *[!A-Za-z0-9_.@:+=-]*) usage ;; esac

home=$(cd "${PUSH_HOME:-/opt/push}" 2>/dev/null && pwd -P) ||
    fail 5 "is not installed: there is no folder ${PUSH_HOME:-/opt/push} (PUSH_HOME)"
run=$home/run
log=$home/log
twistd=$home/venv/bin/twistd
pid_file=$run/$name.pid
ready_file=$run/$name.ready
log_file=$log/$name.log
config=${PUSH_CONFIG:-}
case $config in
'') [ ! -e "$home/etc/push.toml" ] || config=$home/etc/push.toml ;;
/*) ;;
*) config=$PWD/$config ;;
esac

case $action in
start) start "$@" ;;
stop) stop ;;
restart)
    stop
    start "$@"
    ;;
reload) reload ;;
status) status ;;
*) usage ;;
esac
