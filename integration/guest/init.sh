#!/bin/busybox sh
# The guest's first process: it sets the machine up, and then does what is typed on the console. See doc.go.
# Lines of its own begin with "guest:".
/bin/busybox mkdir -p /run /var
/bin/busybox ln -s /run /var/run
/bin/busybox --install -s /bin
export PATH=/bin:/usr/sbin:/usr/bin
mkdir -p /proc /sys /dev /tmp /etc/ppp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
stty -echo

# A test that dies without stopping its guest must not leave it behind for ever.
(sleep 900; echo "guest: its time is over"; echo o >/proc/sysrq-trigger) &

for m in /modules/*.ko; do insmod "$m" || echo "guest: no module $m"; done
[ -e /dev/ppp ] || mknod /dev/ppp c 108 0

# slirp's network, without asking its DHCP server: it is always the same.
ip() { /usr/sbin/ip "$@"; } # busybox's own knows no l2tp
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding # who is no router does not hear what routers are asked
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
hostname guest
echo "127.0.0.1 localhost guest" >/etc/hosts

# tag PREFIX: what comes in, each line with the prefix in front.
tag() { while IFS= read -r line; do echo "$1$line"; done; }

# pppd says what it does to syslog only.
syslogd -n -O - 2>&1 | while IFS= read -r line; do echo "${line#*guest }"; done &

echo 'alice * s3cret *' >/etc/ppp/pap-secrets
echo 'alice * s3cret *' >/etc/ppp/chap-secrets
echo '* * tunsecret' >/run/l2tp-secrets
chmod 600 /etc/ppp/*-secrets /run/l2tp-secrets
: >/etc/ppp/options
# pppd calls it with the interface, the tty, the speed and both link-local addresses.
cat >/etc/ppp/ipv6-up <<-END
	#!/bin/sh
	echo "guest: IPv6 up on \$1: \$4 \$5" >/dev/console
END
chmod 755 /etc/ppp/ipv6-up

# wait_for COMMAND…: until it succeeds, a minute at most.
wait_for() {
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 600 ] || { echo "guest: waited in vain for: $*"; return 1; }
		sleep 0.1
	done
}
wait_for_end_of() { wait_for eval "! $*"; }

# daemon NAME PORT: xl2tpd with the configuration in /run/PORT, its words tagged with NAME and PORT.
daemon() {
	! has secret || echo "challenge = yes" >>"$d/conf"
	! has hidden || echo "hidden bit = yes" >>"$d/conf"
	xl2tpd -D -c "$d/conf" -p "$d/pid" -C "$d/control" 2>&1 | tag "$1 $2: " &
	wait_for [ -p "$d/control" ]
}

# has WORD: whether it is among the options of lns or lac.
has() { case " $options " in *" $1 "*) ;; *) return 1 ;; esac; }

# pppd_name AUTH: our name for it in pppd's words.
pppd_name() { case $1 in mschapv2) echo mschap-v2 ;; *) echo "$1" ;; esac; }

lns() {
	port=$1 auth=$2 d=/run/$1
	shift 2
	options=$*
	if ! pidof httpd >/dev/null; then
		ip addr add 10.9.0.1/32 dev lo
		ip addr add 2001:db8:9::1/128 dev lo
		web
		dnsd 10.9.0.1:53 10.9.0.1 2>&1 | tag "dnsd: " &
		dnsd '[2001:db8:9::1]:53' 2001:db8:9::1 2>&1 | tag "dnsd: " &
		rad 2001:db8:9:1::/64 2001:db8:9::1 1300 2>&1 | tag "rad: " &
	fi
	mkdir -p "$d"
	# With IPv6, the DNS server is told by rad alone.
	cat >"$d/ppp" <<-END
		auth
		require-$(pppd_name "$auth")
		name guest
		$(if has ipv6; then echo "ipv6 ::1,::2"; else echo "ms-dns 10.9.0.1"; fi)
		$(! has mppe || echo require-mppe-128)
		$(! has mppe40 || echo require-mppe-40)
		debug
	END
	# The third octet is the port's last digit: several servers must not give the same address away.
	net=10.9.$((port % 10))
	cat >"$d/conf" <<-END
		[global]
		port = $port
		auth file = /run/l2tp-secrets
		debug tunnel = yes
		[lns default]
		ip range = $net.10-$net.99
		local ip = 10.9.0.1
		require authentication = yes
		pppoptfile = $d/ppp
	END
	daemon lns "$port"
}

lac() {
	port=$1 auth=$2 d=/run/$1
	shift 2
	options=$*
	mkdir -p "$d"
	cat >"$d/ppp" <<-END
		$(for a in eap pap chap mschap mschap-v2; do [ $a = "$(pppd_name "$auth")" ] || echo refuse-$a; done)
		noauth
		user alice
		usepeerdns
		$(! has ipv6 || echo "ipv6 ::2,::1")
		$(! has mppe || echo require-mppe-128)
		$(! has mppe40 || echo require-mppe-40)
		debug
	END
	cat >"$d/conf" <<-END
		[global]
		port = $port
		auth file = /run/l2tp-secrets
		debug tunnel = yes
		[lac call]
		lns = 10.0.2.2:$port
		autodial = yes
		pppoptfile = $d/ppp
	END
	daemon lac "$port" && wait_for eval "ip addr show dev ppp0 | grep -q inet"
}

# site NAME DEVICE: gives the device a network namespace of its own.
site() {
	ip netns add "$1" && ip link set "$2" netns "$1" && ip -n "$1" link set lo up && ip -n "$1" link set "$2" up
}

# at SITE PROGRAM…: runs it in there.
at() {
	netns=/run/netns/$1
	shift
	nsenter "--net=$netns" "$@"
}

# lease SITE DEVICE: by DHCP, with what it brings.
lease() {
	[ -e /run/leased ] || {
		cat >/run/leased <<-END
			#!/bin/sh
			[ "\$1" = bound ] || exit 0
			/usr/sbin/ip link set "\$interface" mtu "\$mtu"
			/usr/sbin/ip addr add "\$ip/\$mask" dev "\$interface"
			/usr/sbin/ip route add default via "\$router"
			for server in \$dns; do echo "nameserver \$server"; done >/etc/resolv.conf
			echo "guest: \$interface leased \$ip/\$mask, router \$router, DNS \$dns, MTU \$mtu"
		END
		chmod 755 /run/leased
	}
	at "$1" udhcpc -i "$2" -s /run/leased -O mtu -n -q -t 30 -T 2 2>&1
}

# fetch URL [SITE]
fetch() { echo "guest: sha256 $(${2:+at "$2"} wget -q -O - "$1" | sha256sum | cut -d' ' -f1)"; }

# web [SITE]: the web server, of both families.
web() {
	if [ ! -e /www/megabyte ]; then
		head -c 1048576 /www/blob >/www/megabyte
		mkdir -p /www/cgi-bin
		cat >/www/cgi-bin/sha256 <<-END
			#!/bin/sh
			printf 'Content-Type: text/plain\r\n\r\n'
			head -c "\$CONTENT_LENGTH" | sha256sum | cut -d' ' -f1
		END
		chmod 755 /www/cgi-bin/sha256
	fi
	${1:+at "$1"} httpd -p 80 -h /www
}

hangup() {
	# pppd ends first (LCP Terminate), and xl2tpd notices (CDN). Then the tunnel (StopCCN).
	kill "$(cat /run/ppp0.pid)"
	wait_for_end_of "[ -e /sys/class/net/ppp0 ]" || return 1
	echo "d call" >"/run/$1/control"
	sleep 0.5
	kill "$(cat "/run/$1/pid")"
}

echo "guest: ready"
done_commands=0
while read -r command; do
	eval "$command"
	status=$?
	done_commands=$((done_commands + 1))
	echo "guest: command $done_commands ended with $status"
done
# Without a first process the kernel panics.
while :; do sleep 1000; done
