#!/bin/sh
# Starts the server in the foreground and says what to try once it answers.
set -eu
program=$1
shift
data=${BAROGRAPH_STORE_DATA_DIR:-${BAROGRAPH_DATA_DIR:-data}}
port=${BAROGRAPH_TSD_NETWORK_PORT:-${BAROGRAPH_PORT:-4242}}

option() {
    case $1=$2 in
        --port=* | --set=tsd.network.port=*) port=${2#tsd.network.port=} ;;
        --data-dir=* | --set=store.data_dir=*) data=${2#store.data_dir=} ;;
    esac
}
name=
for argument; do
    if [ -n "$name" ]; then
        option "$name" "$argument"
        name=
        continue
    fi
    case $argument in
        --auto-metric) ;;
        --*=*) option "${argument%%=*}" "${argument#*=}" ;;
        *) name=$argument ;;
    esac
done

"$program" serve --bind 127.0.0.1 --data-dir "$data" "$@" &
server=$!
trap 'kill -TERM $server 2>/dev/null' INT TERM

# What answers may be another server that has the port: then ours ends at once.
sleep 0.1
tries=0
until kill -0 $server 2>/dev/null && "$program" health 127.0.0.1 "$port" >/dev/null 2>&1; do
    kill -0 $server 2>/dev/null || { wait $server; exit $?; }
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { echo "the server does not answer on port $port" >&2; break; }
    sleep 0.1
done
cat <<EOF

Barograph answers on http://127.0.0.1:$port/ (HTTP and telnet). Its data is in $data/. Try:

  put a point     echo "put office.temperature \$(date +%s) 21.5 room=north" | nc -q1 127.0.0.1 $port
  or by HTTP      curl -d "{\\"metric\\":\\"office.temperature\\",\\"timestamp\\":\$(date +%s),\\"value\\":21.5,\\"tags\\":{\\"room\\":\\"south\\"}}" 'http://127.0.0.1:$port/api/put?details'
  read it         curl -g 'http://127.0.0.1:$port/api/query?start=1h-ago&m=avg:office.temperature{room=*}'
  the host's load curl 'http://127.0.0.1:$port/api/query?start=5m-ago&m=avg:host.load.1m'

Stop with Ctrl-C.
EOF
status=0
wait $server || status=$?
# A signal ends `wait` before the server has ended.
while kill -0 $server 2>/dev/null; do
    wait $server && status=0 || status=$?
done
exit $status
