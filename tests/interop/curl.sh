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

# --- links ---
gives "$(struct held "$(b 0)")" lab.gate.next
call lab.link.cut "$other"
has "$result" "<name>cut</name><value>$(b 1)</value>" cut
call lab.link.delay "$other" "$(i 5)" "$(i 60000)"
has "$result" "<name>delay_ms</name><value>$(i 5)</value>" delay
call lab.link.drop "$other" "$(i 30)"
has "$result" "<name>drop_percent</name><value>$(i 30)</value>" drop
gives "$(struct healed "$(i 1)")" lab.link.heal
gives "$(array)" lab.link.list
call lab.trace "$(i 0)" "$(i 1)"
has "$result" "<name>kind</name>" trace
gives "$(struct on "$(b 1)")" lab.trace.switch "$(b 1)"
call lab.trace.clear
has "$result" '<name>next</name>' clear
fault 150 'no member' lab.link.cut "$(i 1)"
echo 'links'

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

# --- a leader: nodes start unproven, and nothing that is agreed upon is served before all have met, and elected ---
# member NAME: what stands in $result as the value of a member, with its tags.
member() {
  member=${result#*"<name>$1</name><value>"}
  [ "$member" != "$result" ] || fail "no member $1: $result"
  printf '%s' "${member%%'</value>'*}"
}
led() {
  tries=0
  until
    seen=''
    for port in "$first" "$second" "$third"; do
      call_on "$port" bully.status
      case $result in *'<name>leader</name>'*) seen="$seen $(member leader)$(member votes)" ;; esac
    done
    row=${seen##* }
    [ "$seen" = " $row $row $row" ] && [ "$row" = "${row%%</int>*}</int>$(b 1)" ]
  do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || fail "waited in vain for a leader: $result"
    sleep 0.1
  done
}
led
has "$result" '<name>eligible</name><value><boolean>' bully.status
has "$result" '<name>epoch</name><value><string>' bully.status
echo 'a leader'

# --- keys ---
# writes METHOD PARAM...: leaves the place in the log that the answer names in $epoch and $counter.
writes() {
  call "$@"
  epoch=$(member epoch) counter=$(member counter)
}
whole() { expr "$1" : '<int>\([0-9]*\)</int>$' || fail "no int: $1"; }
number=0
for sent in "$(i -2147483648)" '<i8>9223372036854775807</i8>' "$(b 1)" "$(d 0.5)" "$(s '')" "$(s '&lt;Grüße&gt; 😀')" \
  '<dateTime.iso8601>20261120T09:44:00</dateTime.iso8601>' '<base64>AAEC/w==</base64>' "$(array)" \
  "$(array "$(i 1)" "$(array "$(s two)")")" "$(struct a "$(struct '' "$(d 2.5)")" b "$(i 1)")"; do
  number=$((number + 1)) key=$(s "curl v/$number")
  writes kv.put "$key" "$sent"
  version=$(member version)
  place=$(printf '<member><name>epoch</name><value>%s</value></member><member><name>counter</name><value>%s</value></member>' \
    "$epoch" "$counter")
  same "$result" "<struct><member><name>version</name><value>$version</value></member>$place</struct>" kv.put
  for port in "$first" "$second" "$third"; do
    call_on "$port" kv.get "$key"
    same "$result" "$(struct found "$(b 1)" value "$sent" version "$version" epoch "$epoch" counter "$counter")" "$sent"
  done
  # The first in the list of them.
  if [ "$number" = 1 ]; then entry=$(struct key "$key" value "$sent" version "$version"); fi
done
gives "$(struct entries "$(array "$entry")" more "$(b 1)")" kv.list "$(s curl\ v/1)" "$(struct limit "$(i 1)")"
fault -32602 nil kv.put "$(s 'curl nil')" '<nil/>'
key=$(s 'curl Ü')
writes kv.cas "$key" "$(i 0)" "$(s one)"
version=$(whole "$(member version)")
fault 116 "has version $version, not 0" kv.cas "$key" "$(i 0)" "$(s two)"
call kv.get "$key" "$(struct read "$(s local)")"
has "$result" '<name>behind</name><value><int>' 'a local read'
writes kv.delete "$key"
gives "$(struct found "$(b 0)")" kv.get "$key"
echo "keys: $number values of all types, there and back; versions"

# --- request ids ---
key=$(s 'curl once') once=$(struct request "$(s curl/2)")
writes kv.put "$key" "$(i 1)" "$once"
answer=$result
call_on "$third" kv.put "$key" "$(i 1)" "$once"
same "$result" "$answer" 'a repeated request'
fault 122 'curl/2 was another call' kv.put "$key" "$(i 2)" "$once"
fault 121 'comes after curl/2' kv.put "$key" "$(i 1)" "$(struct request "$(s curl/1)")"
fault 114 'client/sequence' kv.put "$key" "$(i 1)" "$(struct request "$(s curl)")"
gives "$(struct applied "$(b 1)" answer "$answer")" synod.outcome "$(s curl/2)"
gives "$(struct applied "$(b 0)" last "$(i 2)")" synod.outcome "$(s curl/3)"
echo 'request ids: applied once'

# --- watches: calls of a batch are all begun before any is waited for ---
prefix=$(s curl\ w/) key=$(s 'curl w/1')
writes kv.put "$(s 'curl w/other')" "$(i 0)"
since=$counter
call system.multicall "$(array "$(one kv.watch "$(array "$prefix" "$since" "$(i 60000)")")" \
  "$(one kv.put "$(array "$key" "$(d 0.5)")")")"
epoch=$(member epoch) counter=$(member counter)
event=$(struct what "$(s put)" epoch "$epoch" counter "$counter" key "$key" value "$(d 0.5)" version "$(member version)")
has "$result" "<name>events</name><value>$(array "$event")</value>" kv.watch
next=$counter
call kv.watch "$prefix" "$next" "$(i 1)"
same "$result" "$(struct events "$(array)" next "$(member next)")" 'a quiet watch'
fault 114 'timeout_ms is above 60000' kv.watch "$prefix" "$(i 0)" "$(i 60001)"
echo 'watches'

# --- the board ---
writes board.strong.post "$(s 'first &lt;')"
id=$(member id) post_epoch=$epoch since=$counter
same "$result" "$(struct id "$id" epoch "$epoch" counter "$counter")" board.strong.post
after=$(struct after "$(s $(($(whole "$id") - 1)))")
gives "$(array "$(struct id "$id" text "$(s 'first &lt;')" author "$(i "$first")" epoch "$epoch" counter "$counter")")" \
  board.strong.list "$after"
writes board.strong.modify "$id" "$(s Ü)"
same "$result" "$(struct id "$id" epoch "$epoch" counter "$counter")" board.strong.modify
call board.strong.list "$after"
has "$result" "<name>text</name><value>$(s Ü)</value>" board.strong.list
writes board.strong.delete "$id"
gives "$(array)" board.strong.list "$after"
fault 117 'there is no post' board.strong.delete "$id"
call board.strong.watch "$(i $(($(whole "$since") - 1)))" "$(i 60000)"
has "$result" "<name>events</name><value><array><data><value>$(struct what "$(s posted)" epoch "$post_epoch" counter "$since" \
  id "$id" author "$(i "$first")" text "$(s 'first &lt;')")</value>" board.strong.watch
echo 'the board'

# --- files ---
name=$(s 'curl Ü.txt')
writes files.create "$name"
same "$result" "$(struct epoch "$epoch" counter "$counter" message "$(s "CREATED FILE 'curl Ü.txt'")")" files.create
since=$(($(whole "$counter") - 1)) lines="<value>$(s "create curl Ü.txt $(whole "$epoch") $(whole "$counter")")</value>"
fault 118 "FILE 'curl Ü.txt' ALREADY EXISTS" files.create "$name"
writes files.append "$name" "$(s 'x y')"
same "$result" "$(struct epoch "$epoch" counter "$counter" message "$(s "WROTE 'x y' TO FILE 'curl Ü.txt'")")" files.append
lines="$lines<value>$(s "append curl Ü.txt x y $(whole "$epoch") $(whole "$counter")")</value>"
gives "$(struct name "$name" text "$(s 'x y')" lines "$(i 1)" epoch "$epoch" counter "$counter")" files.read "$name"
call files.list
has "$result" "$(struct name "$name" lines "$(i 1)" bytes "$(i 3)" epoch "$epoch" counter "$counter")" files.list
writes files.delete "$name"
lines="$lines<value>$(s "delete curl Ü.txt $(whole "$epoch") $(whole "$counter")")</value>"
fault 117 "FILE 'curl Ü.txt' DOESN'T EXIST" files.read "$name"
call files.history "$(i "$since")"
same "$result" "$(struct lines "<array><data>$lines</data></array>" next "$(member next)")" files.history
echo 'files'

# --- locks ---
name=$(s 'curl lock') ann=$(s ann) bob=$(s bob) ttl=$(i 60000)
call lock.acquire "$name" "$ann" "$ttl"
token=$(member token)
same "$result" "$(struct granted "$(b 1)" token "$token")" lock.acquire
gives "$(struct granted "$(b 0)")" lock.acquire "$name" "$bob" "$ttl" "$(i 1)"
gives "$(struct granted "$(b 1)" token "$token")" lock.renew "$name" "$ann" "$token"
fault 120 "'ann' does, with token $(whole "$token")" lock.renew "$name" "$bob"
call lock.list
has "$result" "$(struct name "$name" owner "$ann" token "$token" expires_in_ms "$(member expires_in_ms)" queue "$(array)")" lock.list
fence=$(struct token "$token" lock "$name") key=$(s 'curl fenced')
writes kv.put "$key" "$(i 1)" "$fence"
call system.multicall "$(array "$(one lock.acquire "$(array "$name" "$bob" "$ttl" "$ttl")")" \
  "$(one lock.release "$(array "$name" "$ann" "$token")")")"
newer=$(member token)
[ "$(whole "$newer")" -gt "$(whole "$token")" ] || fail "a token that did not grow: $newer after $token"
has "$result" "$(struct released "$(b 1)" epoch "$(member epoch)" counter "$(member counter)")" lock.release
fault 119 "token $(whole "$token") does not hold" kv.put "$key" "$(i 2)" "$fence"
fault 114 'kv and files' board.strong.post "$(s x)" "$fence"
call lock.release "$name" "$bob" "$newer"
has "$result" "<name>released</name><value>$(b 1)</value>" lock.release
echo 'locks, queues and tokens'

# --- members ---
call cluster.members
for port in "$first" "$second" "$third"; do
  has "$result" "$(struct node "$(i "$port")" address "$(s "127.0.0.1:$port")")" cluster.members
done
has "$result" "<name>changing</name><value>$(b 0)</value>" cluster.members
fault 124 'is a member already' cluster.add "$(i "$second")" "$(s 127.0.0.1:7)"
fault 114 'the address is not HOST:PORT' cluster.add "$(i 7)" "$(s here)"
fault 125 '7 is no member' cluster.remove "$(i 7)"
echo 'members'

# --- the eventual board ---
call board.eventual.post "$(s 'first &lt;')"
id=$(member id) clock=$(member clock)
same "$result" "$(struct id "$id" text "$(s 'first &lt;')" author "$(i "$first")" clock "$clock" server "$(i "$first")")" \
  board.eventual.post
same "$id" "$(s "$(whole "$clock").$first")" 'the id of an entry'
call board.eventual.status
since=$(member changes)
call board.eventual.list
has "$result" "<value>$id</value>" board.eventual.list
call board.eventual.modify "$id" "$(s Ü)"
clock=$(member clock)
call board.eventual.watch "$since" "$(i 60000)"
has "$result" "$(struct what "$(s modified)" counter "$(i $(($(whole "$since") + 1)))" id "$id" text "$(s Ü)" \
  author "$(i "$first")" clock "$clock" server "$(i "$first")")" board.eventual.watch
call board.eventual.delete "$id"
same "$result" "$(struct id "$id" author "$(i "$first")" clock "$(member clock)" server "$(i "$first")")" board.eventual.delete
fault 117 'there is no entry' board.eventual.delete "$id"
echo 'the eventual board'

# --- quorum registers ---
gives "$(struct found "$(b 0)")" register.read "$(s 'curl never')"
call register.write "$(s 'curl Ü')" "$(array "$(i 1)" "$(s b)")"
timestamp=$(member timestamp)
gives "$(struct found "$(b 1)" value "$(array "$(i 1)" "$(s b)")" timestamp "$timestamp")" register.read "$(s 'curl Ü')"
gives "$(struct read "$(i 2)" write "$(i 2)" nodes "$(i 3)" intersect "$(b 1)")" register.quorum
echo 'quorum registers'
# --- overlays: the route is in every answer ---
for overlay in dht flood index; do
  key=$(s "curl $overlay")
  call "$overlay.set" "$key" "$(i 5)"
  has "$result" "<name>hops</name><value><array><data><value>$(i "$first")</value>" "$overlay.set"
  call_on "$third" "$overlay.get" "$key"
  has "$result" "<name>found</name><value>$(b 1)</value>" "$overlay.get"
  has "$result" "<name>value</name><value>$(i 5)</value>" "$overlay.get"
  has "$result" "<name>hops</name><value><array><data><value>$(i "$third")</value>" "$overlay.get"
  call "$overlay.remove" "$key"
  call "$overlay.get" "$key"
  has "$result" "<name>found</name><value>$(b 0)</value>" "$overlay.get"
  fault 140 'nothing was changed' "$overlay.remove" "$key"
done
call dht.fingers
call dht.leave
call dht.ring
has "$result" "<name>state</name><value>$(s left)</value>" dht.ring
call dht.join
call dht.ring
has "$result" "<name>state</name><value>$(s joined)</value>" dht.ring
echo overlays

# --- what nodes say to each other: a client that says it wrongly gets a fault, and changes nothing ---
call status
envelope=$(struct from "$(i "$second")" to "$(i "$first")" generation "$(member generation)")
for method in answer coordinator election heartbeat resign; do
  fault -32602 'lacks a member' "bully.$method" "$(struct)" "$envelope"
done
for overlay in dht flood index; do
  fault -32602 'lacks a member' "$overlay.message" "$(struct)" "$envelope"
done
for method in accept accepted answer change confirm confirmed fetch fetched forward known prepare promise read readable \
    reject unchanged; do
  fault -32602 'lacks a member' "log.$method" "$(struct)" "$envelope"
done
for method in eventual.ask eventual.have eventual.spread eventual.tell register.held register.query register.store \
  register.stored; do
  fault -32602 'lacks a member' "$method" "$(struct)" "$envelope"
done
fault 111 'the message is for' log.blank "$(struct)" "$(struct from "$(i 1)" to "$(i "$second")" generation "$(i 1)")"
call bully.elect
has "$result" "<name>votes</name><value>$(b 1)</value>" bully.elect
led
echo "the nodes' own messages"

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
