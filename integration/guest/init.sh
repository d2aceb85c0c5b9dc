#!/bin/busybox sh
# The guest's first process. Words on the kernel's command line say what to do; see doc.go.
# Everything it says goes to the console, and lines of its own begin with "guest:".
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

# A test that dies without stopping its guest must not leave it behind for ever.
life=$(sed -n 's/.*\blife=\([0-9]*\).*/\1/p' /proc/cmdline)
(sleep "${life:-900}"; echo "guest: its time is over"; echo o >/proc/sysrq-trigger) &

for m in /modules/*.ko; do insmod "$m" || echo "guest: no module $m"; done
[ -e /dev/ppp ] || mknod /dev/ppp c 108 0

# slirp's network, without asking its DHCP server: it is always the same.
/usr/sbin/ip link set lo up
/usr/sbin/ip link set eth0 up
/usr/sbin/ip addr add 10.0.2.15/24 dev eth0
/usr/sbin/ip route add default via 10.0.2.2
echo "nameserver 10.0.2.3" >/etc/resolv.conf
echo "127.0.0.1 localhost guest" >/etc/hosts
hostname guest

# tag PREFIX: what comes in, each line with the prefix in front.
tag() { while IFS= read -r line; do echo "$1$line"; done; }

# pppd says what it does to syslog only.
syslogd -n -O - 2>&1 | while IFS= read -r line; do echo "${line#*guest }"; done &

echo 'alice * s3cret *' >/etc/ppp/pap-secrets
echo 'alice * s3cret *' >/etc/ppp/chap-secrets
echo '* * tunsecret' >/run/l2tp-secrets
chmod 600 /etc/ppp/*-secrets /run/l2tp-secrets
: >/etc/ppp/options
cat >/etc/ppp/ip-up <<'UP'
#!/bin/busybox sh
echo "guest: $1 is up, $4 here and $5 there"
UP
cat >/etc/ppp/ip-down <<'DOWN'
#!/bin/busybox sh
echo "guest: $1 is down, $4 here and $5 there"
DOWN
sed -i '1a exec >/dev/console' /etc/ppp/ip-up /etc/ppp/ip-down
chmod +x /etc/ppp/ip-up /etc/ppp/ip-down

# refuse_but AUTH: pppd's options that leave only that way to prove who we are.
refuse_but() {
	echo refuse-eap
	for a in pap chap mschap mschap-v2; do [ "$a" = "$1" ] || echo "refuse-$a"; done
}

# pppd_name AUTH: the command line's name for it in pppd's words.
pppd_name() { case $1 in mschapv2) echo mschap-v2 ;; *) echo "$1" ;; esac; }

# lns PORT:AUTH[:secret],…: an xl2tpd per entry, and the servers behind them.
lns() {
	/usr/sbin/ip addr add 10.9.0.1/32 dev lo
	httpd -p 10.9.0.1:80 -h /www
	dnsd 10.9.0.1:53 10.9.0.1 2>&1 | tag "dnsd: " &
	i=0
	for entry in $(echo "$1" | tr , ' '); do
		i=$((i + 1))
		IFS=: read -r port auth secret <<-END
			$entry
		END
		d=/run/$port
		mkdir -p "$d"
		cat >"$d/ppp" <<-END
			auth
			require-$(pppd_name "$auth")
			name guest
			ms-dns 10.9.0.1
			debug
			ipcp-accept-remote
		END
		cat >"$d/conf" <<-END
			[global]
			port = $port
			auth file = /run/l2tp-secrets
			debug tunnel = yes
			[lns default]
			ip range = 10.9.$i.10-10.9.$i.99
			local ip = 10.9.0.1
			require authentication = yes
			pppoptfile = $d/ppp
		END
		[ -z "$secret" ] || echo "challenge = yes" >>"$d/conf"
		xl2tpd -D -c "$d/conf" -p "$d/pid" -C "$d/control" 2>&1 | tag "lns $port: " &
		until [ -p "$d/control" ]; do sleep 0.1; done
	done
}

# lac PORT:AUTH:SECRET:ADDRESS,…: one call after the other, each hung up after what was to be fetched has come.
lac() {
	for entry in $(echo "$1" | tr , ' '); do
		IFS=: read -r port auth secret address <<-END
			$entry
		END
		d=/run/$port
		mkdir -p "$d"
		{
			refuse_but "$(pppd_name "$auth")"
			cat <<-END
				noauth
				user alice
				debug
				usepeerdns
				ipcp-accept-local
				ipcp-accept-remote
			END
		} >"$d/ppp"
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
		[ -z "$secret" ] || echo "challenge = yes" >>"$d/conf"
		xl2tpd -D -c "$d/conf" -p "$d/pid" -C "$d/control" 2>&1 | tag "lac $port: " &
		until /usr/sbin/ip addr show dev ppp0 2>/dev/null | grep -q inet; do sleep 0.2; done
		ping -c 3 -i 0.2 "$address" | tag "lac $port: ping: "
		echo "guest: lac $port: sha256 $(wget -q -O - "http://$address/blob" | sha256sum | cut -d' ' -f1)"
		# pppd ends first: LCP Terminate, then xl2tpd's CDN. Then the tunnel: StopCCN.
		kill "$(cat /run/ppp0.pid)"
		while [ -e /sys/class/net/ppp0 ]; do sleep 0.1; done
		echo "d call" >"$d/control"
		sleep 0.5
		kill "$(cat "$d/pid")"
		echo "guest: lac $port: over"
	done
}

for word in $(cat /proc/cmdline); do
	case $word in
	lns=*) lns "${word#lns=}" ;;
	lac=*) lac "${word#lac=}" ;;
	esac
done
echo "guest: ready"

# The console is a shell too: a test may type commands.
while read -r line; do eval "$line"; done
while :; do sleep 1000; done
