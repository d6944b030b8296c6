# Looks after one server: $1 is its folder, $2 the signal that ends it at once, the rest its command.
#
# Orders come line by line on stdin, reports go to stdout. Whatever becomes of the process that gives the orders, its end
# of the pipe is closed then: that is the order to end the server and to remove the folder.
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
# A process that is just ending may still write a file.
rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
