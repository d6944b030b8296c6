# Runs one server: $1 is its folder, $2 the signal that ends it at once, the rest its command.
#
# Orders are read line by line from stdin, reports go to stdout. When the process that gives the
# orders ends in any way, its end of the pipe is closed. The server is then stopped, and the folder
# is deleted.
folder=$1
last=$2
shift 2
cd "$folder" || exit 1
exec 3>&1

signal() {
    [ -s pid ] && kill -s "$1" "$(cat pid)"
}

while read -r order name; do
    case $order in
        start)
            : > running
            (
                sh -c 'echo $$ > pid && echo "started $$" >&3 && exec "$@" 3>&-' sh "$@" < /dev/null >> log 2>&1
                status=$?
                rm -f pid running
                echo "exited $status"
            ) &
            ;;
        signal) signal "$name" ;;
    esac
done

exec > /dev/null 3>&1
tries=0
while [ -f running ]; do
    [ "$tries" -lt 200 ] || last=KILL
    signal "$last"
    sleep 0.05
    tries=$((tries + 1))
done
cd /
# A process that is ending may still write a file.
rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
