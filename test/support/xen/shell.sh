# A shell for the other end of a serial line. Each request is a line `ID SCRIPT`, the script in base64; the answer is
# `@ID STATUS OUTPUT`, the output in base64. `@ready` says that the line is listened to.
serve() {
  # Opened once: what comes in while nobody has it open is lost.
  exec 3<> "$1"
  stty raw -echo <&3
  echo @ready >&3
  while read -r id script <&3; do
    echo "$script" | base64 -d > /run/request
    sh /run/request > /run/reply 2>&1 < /dev/null 3<&-
    echo "@$id $? $(base64 -w 0 /run/reply)" >&3
  done
}
