# curl, with bodies written by hand, calls every method of a node; most answers are compared byte by byte.
#
# Arguments: the ports of three lab nodes, the port of a node with credentials, and the secret that alice has there.
# Prints a line for each thing that was checked; ends with 0 if all was as it should be.

set -eu
first=$1 second=$2 third=$3 guarded=$4 secret=$5
url=http://127.0.0.1:$first/RPC2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: >"$work/called"

fail() {
  echo "curl: $*" >&2
  exit 1
}

same() {
  [ "$1" = "$2" ] || fail "$3: $1
  and not: $2"
}

has() {
  case $1 in
    *"$2"*) ;;
    *) fail "$3: $1
  does not hold: $2" ;;
  esac
}

# The answer to a body in a file, with curl's further arguments.
post() {
  file=$1
  shift
  curl -sS --max-time 90 -H 'Content-Type: text/xml' --data-binary "@$file" "$@"
}

# call METHOD PARAM...: each parameter is what stands between <value> and </value>. Leaves the result in $result.
call_on() {
  port=$1 method=$2
  shift 2
  echo "$method" >>"$work/called"
  {
    printf '<?xml version="1.0"?>\n<methodCall><methodName>%s</methodName>\n<params>' "$method"
    for parameter in "$@"; do
      printf '<param><value>%s</value></param>' "$parameter"
    done
    printf '</params></methodCall>'
  } >"$work/call"
  response=$(post "$work/call" "http://127.0.0.1:$port/RPC2")
  result=${response#'<?xml version="1.0"?><methodResponse><params><param><value>'}
  result=${result%'</value></param></params></methodResponse>'}
}
call() { call_on "$first" "$@"; }

# gives WANTED METHOD PARAM...: the result must be exactly this.
gives() {
  wanted=$1
  shift
  call "$@"
  same "$result" "$wanted" "$*"
}

# fault CODE TEXT METHOD PARAM...: the call must end with this fault, whose text holds that.
fault() {
  code=$1 text=$2
  shift 2
  call "$@"
  is_fault "$code" "$text" "$*"
}
is_fault() {
  has "$response" '<?xml version="1.0"?><methodResponse><fault><value><struct><member><name>faultCode</name>' "$3"
  has "$response" "<value><int>$1</int></value></member><member><name>faultString</name><value><string>" "$3"
  has "$response" "$2" "$3"
}

s() { printf '<string>%s</string>' "$1"; }
i() { printf '<int>%s</int>' "$1"; }
b() { printf '<boolean>%s</boolean>' "$1"; }
d() { printf '<double>%s</double>' "$1"; }
# struct NAME VALUE ...
struct() {
  printf '<struct>'
  while [ $# -gt 0 ]; do
    printf '<member><name>%s</name><value>%s</value></member>' "$1" "$2"
    shift 2
  done
  printf '</struct>'
}
array() {
  printf '<array><data>'
  for item in "$@"; do
    printf '<value>%s</value>' "$item"
  done
  printf '</data></array>'
}

# --- values: as they are sent, and as they come back ---
number=0
value() {
  sent=$1 wanted=${2-$1} number=$((number + 1))
  call propose "$sent" "$(s "curl $number")"
  has "$result" "<name>value</name><value>$wanted</value>" "$sent"
  has "$result" "<name>outcome</name><value><string>yours</string></value>" "$sent"
  tries=0
  for port in "$second" "$third"; do
    until
      call_on "$port" decided "$(s "curl $number")"
      case $result in *'<name>decided</name><value><boolean>1</boolean>'*) true ;; *) false ;; esac
    do
      tries=$((tries + 1))
      [ "$tries" -lt 600 ] || fail "waited in vain for $sent"
      sleep 0.01
    done
    same "$result" "$(struct decided "$(b 1)" value "$wanted" ballot "$(s "1.$first")")" "$sent"
  done
}
value "$(i 0)"
value "$(i 5)"
value '<i4>-2147483648</i4>' "$(i -2147483648)"
value '<i8>2147483647</i8>' "$(i 2147483647)"
value '<i8>2147483648</i8>'
value '<i8>-9223372036854775808</i8>'
value '<ex:i8 xmlns:ex="http://ws.apache.org/xmlrpc/namespaces/extensions"> +0042 </ex:i8>' "$(i 42)"
value "$(b 1)"
value "$(b 0)"
value "$(d 0.5)"
value "$(d -1.5e-3)" "$(d -0.0015)"
value "$(d 1e22)" "$(d 10000000000000000000000.0)"
value 'untyped' "$(s untyped)"
value '' "$(s '')"
value '<string/>' "$(s '')"
value "$(s ' ')"
value "$(s '&lt;&amp;&gt;&#34;&apos;]]&gt;')" "$(s '&lt;&amp;&gt;"'"'"']]&gt;')"
value "$(s 'a<![CDATA[<&>]]>b')" "$(s 'a&lt;&amp;&gt;b')"
value "$(s 'cr&#13;lf&#xD;')" "$(s 'cr&#13;lf&#13;')"
value "$(s 'Grüße &#x1F600;')" "$(s 'Grüße 😀')"
value '<dateTime.iso8601>20261120T09:44:00</dateTime.iso8601>'
value '<base64> AAEC
/w== </base64>' '<base64>AAEC/w==</base64>'
value '<base64></base64>'
value '<array/>' "$(array)"
value "$(array "$(i 1)" "$(array "$(s two)" "$(array)")" "$(struct)")"
value "$(struct b "$(i 1)" a "$(struct '' "$(d 2.5)")")" "$(struct a "$(struct '' "$(d 2.5)")" b "$(i 1)")"
echo "$number values of all types, there and back"

for nil in '<nil/>' '<ex:nil/>' "$(array '<nil/>')" "$(struct a '<nil/>')"; do
  fault -32602 nil propose "$nil" "$(s 'curl nil')"
done
echo 'nil is refused'

# --- the phases by hand ---
hand=$(s 'curl hand') five=$(s 5.0)
gives "$(struct promised "$(b 1)" promised_ballot "$five")" prepare "$five" "$hand"
gives "$(struct promised "$(b 0)" promised_ballot "$five")" prepare "$(struct round "$(i 4)" node "$(i 9)")" "$hand"
gives "$(struct accepted "$(b 1)" promised_ballot "$five")" accept "$(i 5)" "$(d 1.5)" "$hand"
gives "$(struct accepted "$(b 0)" promised_ballot "$five")" accept "$(s 4.9)" "$(d 2.5)" "$hand"
gives "$(struct promised "$(b 1)" promised_ballot "$(s 6.0)" accepted_ballot "$five" accepted_value "$(d 1.5)")" \
  prepare "$(s 6.0)" "$hand"
gives "$(struct committed "$(b 1)")" commit "$(i 5)" "$(d 1.5)" "$hand"
gives "$(struct decided "$(b 1)" value "$(d 1.5)" ballot "$five")" decided "$hand"
echo 'the phases by hand'

# --- learn ---
call status
generation=${result#*'<name>generation</name><value>'}
generation=${generation%%'</value>'*}
ask=$(struct after "$(i 0)" count "$(i 0)" digest "$(s 9223372036854775807)" open "$(array "$hand")")
call learn "$ask" "$(struct from "$(i "$second")" to "$(i "$first")" generation "$generation")"
has "$result" "$(struct instance "$hand" ballot "$five" value "$(d 1.5)")" learn
fault 111 'the message is for' learn "$ask" "$(struct from "$(i "$second")" to "$(i "$third")" generation "$generation")"
echo 'learn'

# --- gates ---
kind=$(s prepare) other=$(i "$third")
gives "$(array)" lab.gate.list
gives "$(struct held "$(i 0)")" lab.gate.hold "$kind" "$other"
call propose "$(s 'past the gate')" "$(s 'curl gate')"
has "$result" '<name>outcome</name><value><string>yours</string></value>' gate
gives "$(struct held "$(i 1)")" lab.gate.wait "$kind" "$other" "$(i 1)" "$(i 30000)"
gives "$(array "$(struct method "$kind" to "$other" held "$(i 1)")")" lab.gate.list
gives "$(struct released "$(i 1)")" lab.gate.release "$kind" "$other"
gives "$(struct held "$(i 0)")" lab.gate.hold "$(s commit)" "$other" "$(i 60000)"
gives "$(struct released "$(i 0)")" lab.gate.clear
gives "$(array)" lab.gate.list
echo 'gates'

# --- introspection ---
row=$(array "$(s struct)" "$(s string)")
gives "$(array "$(array "$(s struct)")" "$row")" system.methodSignature "$(s decided)"
call system.methodHelp "$(s decided)"
has "$result" '<string>decided([instance])' help
has "$result" ".decided()</string>" help
call system.getCapabilities
has "$result" "<name>xmlrpc</name><value>$(struct specUrl "$(s http://www.xmlrpc.com/spec)" specVersion "$(i 1)")" capabilities
call synod.version
has "$result" "<name>protocol</name><value>$(i 1)</value>" version
call synod.faults
has "$result" "<name>code</name><value>$(i 102)</value></member><member><name>name</name><value>$(s unknown)" faults
echo 'introspection, version, faults, status'

# --- multicall ---
one() { struct methodName "$(s "$1")" params "$2"; }
call system.multicall "$(array "$(one decided "$(array "$hand")")" "$(one nothing "$(array)")" "$(i 5)" "$(struct)" \
  "$(one system.multicall "$(array "$(array)")")" "$(one decided "$(i 5)")" "$(one propose "$(array)")" \
  "$(struct methodName "$(s decided)")")"
item() { has "$result" "<value><struct><member><name>faultCode</name><value>$(i "$1")</value></member>" "item $1"; }
has "$result" "<array><data><value>$(array "$(struct decided "$(b 1)" value "$(d 1.5)" ballot "$five")")</value>" multicall
item -32601
item -32600
item -32603
item -32602
has "$result" "<value>$(array "$(struct decided "$(b 0)")")</value></data></array>" multicall
gives "$(array)" system.multicall "$(array)"
echo 'multicall'

# --- validator1 ---
stooges=$(struct moe "$(i 1)" larry "$(i 2)" curly "$(i -9)")
gives "$(i -18)" validator1.arrayOfStructsTest "$(array "$stooges" "$stooges")"
gives "$(struct ctAmpersands "$(i 3)" ctApostrophes "$(i 1)" ctLeftAngleBrackets "$(i 2)" ctQuotes "$(i 4)" \
  ctRightAngleBrackets "$(i 1)")" validator1.countTheEntities "$(s "&lt;&lt;>&amp;&amp;&amp;'\"\"\"\"")"
gives "$(i -6)" validator1.easyStructTest "$stooges"
gives "$(struct a "$(array "$(s x)")")" validator1.echoStructTest "$(struct a "$(array x)")"
date='<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>'
gives "$(array '<i8>9223372036854775807</i8>' "$(b 1)" "$(s '')" "$(d 0.5)" "$date" '<base64>AHg=</base64>')" \
  validator1.manyTypesTest "$(s 9223372036854775807)" "$(b 1)" '' "$(d 0.5)" "$date" '<base64>AHg=</base64>'
gives "$(s Wednesday)" validator1.moderateSizeArrayCheck "$(array Wed x y nesday)"
gives "$(i -6)" validator1.nestedStructTest "$(struct 2000 "$(struct 04 "$(struct 01 "$stooges")")")"
gives "$(struct times10 '<i8>21474836470</i8>' times100 '<i8>214748364700</i8>' times1000 '<i8>2147483647000</i8>')" \
  validator1.simpleStructReturnTest "$(i 2147483647)"
echo 'validator1'

# --- faults ---
fault -32601 "there is no method 'nothing.at.all'" nothing.at.all
fault -32602 'is missing' propose
fault -32602 'is not a ballot' prepare "$(s five)"
fault -32602 '' validator1.easyStructTest "$(i 2147483648)"
fault -32602 '' propose '<boolean>true</boolean>'
fault -32600 '' propose "<int>5</int>foo"
fault -32600 '' propose "$(struct a "$(i 1)" a "$(i 2)")"
fault -32700 '' propose "<int>5"
fault -32700 '' propose "&unknown;"
fault -32702 '' propose "&#0;"
fault 114 'deadline_ms is above 60000' propose "$(i 1)" "$(s 'curl fault')" "$(struct deadline_ms "$(i 60001)")"
fault 111 'ignored: ' prepare "$(s "18446744073709551615.$first")" "$(s 'curl fault')"
gives "$(struct decided "$(b 0)")" decided "$(s 'curl fault')"
printf '<!DOCTYPE x [<!ENTITY a "b">]><methodCall><methodName>status</methodName></methodCall>' >"$work/call"
response=$(post "$work/call" "$url")
is_fault -32700 '' 'a DOCTYPE'
printf '<?xml version="1.0" encoding="EBCDIC"?><methodCall><methodName>status</methodName></methodCall>' >"$work/call"
response=$(post "$work/call" "$url")
is_fault -32701 '' 'an unknown encoding'
echo 'faults with code and text'

# --- what is curl's own: encodings, compression, chunks, the other verbs ---
text='<methodCall><methodName>validator1.moderateSizeArrayCheck</methodName><params><param><value><array><data>'
text="$text<value>Gr</value><value>%s</value></data></array></value></param></params></methodCall>"
wanted="<?xml version=\"1.0\"?><methodResponse><params><param><value>$(s 'Grü')</value></param></params></methodResponse>"
# shellcheck disable=SC2059
printf "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>$text" "$(printf '\374')" >"$work/call"
same "$(post "$work/call" "$url")" "$wanted" 'ISO-8859-1'
# shellcheck disable=SC2059
printf "$text" 'ü' >"$work/utf8"
iconv -f UTF-8 -t UTF-16 "$work/utf8" >"$work/call"
same "$(post "$work/call" "$url")" "$wanted" 'UTF-16'
same "$(post "$work/utf8" "$url" -H 'Transfer-Encoding: chunked')" "$wanted" 'chunks'
gzip -c "$work/utf8" >"$work/call"
same "$(post "$work/call" "$url" -H 'Content-Encoding: gzip')" "$wanted" 'gzip'
same "$(post "$work/utf8" "$url" -H 'Expect: 100-continue')" "$wanted" 'Expect: 100-continue'
same "$(post "$work/utf8" "$url" --http1.0)" "$wanted" 'HTTP/1.0'
same "$(post "$work/utf8" "http://127.0.0.1:$first/")" "$wanted" 'the path /'
status() { curl -sS -o "$work/body" -D "$work/head" -w '%{http_code}' "$@"; }
same "$(status "$url")" 200 'GET /RPC2'
has "$(cat "$work/head")" "Content-Security-Policy: default-src 'none'" 'GET /RPC2'
has "$(cat "$work/body")" '<h2 id="propose">' 'GET /RPC2'
plain=$(cat "$work/body")
same "$(status --compressed "$url")" 200 'GET /RPC2, compressed'
has "$(cat "$work/head")" 'Content-Encoding: gzip' 'GET /RPC2, compressed'
same "$(cat "$work/body")" "$plain" 'GET /RPC2, compressed'
same "$(status -I "$url")" 200 'HEAD'
same "$(status -X OPTIONS "$url")" 204 'OPTIONS'
has "$(cat "$work/head")" 'Allow: GET, HEAD, POST, OPTIONS' 'OPTIONS'
same "$(status -X PUT -d x "$url")" 405 'PUT'
same "$(status -d x "http://127.0.0.1:$first/nowhere")" 404 'POST elsewhere'
same "$(status -d x -H 'Origin: http://evil.example' "$url")" 403 'a foreign Origin'
same "$(status -d x -H 'Content-Encoding: br' "$url")" 415 'brotli'
echo 'encodings, gzip, chunks, GET, HEAD, OPTIONS, refusals of the door'

# --- credentials ---
guard=http://127.0.0.1:$guarded/RPC2
printf '<methodCall><methodName>propose</methodName><params><param><value>by alice</value></param></params></methodCall>' >"$work/alice"
same "$(status --data-binary "@$work/alice" "$guard")" 401 'nobody'
has "$(cat "$work/head")" 'WWW-Authenticate: Basic realm="synod"' 'nobody'
same "$(status "$guard")" 401 'GET by nobody'
same "$(status -u alice:wrong --data-binary "@$work/alice" "$guard")" 401 'a wrong secret'
same "$(status -u "bob:$secret" --data-binary "@$work/alice" "$guard")" 401 'a wrong name'
has "$(post "$work/alice" -u "alice:$secret" "$guard")" "<name>value</name><value>$(s 'by alice')</value>" alice
has "$(post "$work/alice" "http://alice:$secret@127.0.0.1:$guarded/RPC2")" "<name>value</name>" 'alice in the URL'
printf '<methodCall><methodName>restart</methodName></methodCall>' >"$work/call"
response=$(post "$work/call" -u "alice:$secret" "$guard")
is_fault 115 'restart is for the role admin' restart
echo 'credentials'

# --- restart ---
for port in "$first" "$second" "$third"; do
  call_on "$port" restart
  has "$result" "<name>message</name><value>$(s "Node on port $port has been restarted.")</value>" restart
done
gives "$(struct decided "$(b 0)")" decided "$(s 'curl 1')"
echo 'restart'

# --- all of them ---
call system.listMethods
names=$(printf '%s' "$result" | sed 's|</string></value>|\n|g' | sed -n 's|.*<value><string>||p' | LC_ALL=C sort)
called=$(grep -v nothing "$work/called" | LC_ALL=C sort -u)
same "$called" "$names" 'the methods that were called'
echo "all $(echo "$names" | wc -l) methods"
