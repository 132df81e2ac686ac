#!/bin/sh
# mosquitto and nats-server for the benchmarks, unpacked from Debian's packages: no service is started and
# nothing is installed. `sh benchmarks/peers.sh` puts programs that find their libraries into
# build/peers/bin, where `python -m benchmarks` looks for them.
set -eu
cd "$(dirname "$0")/.."

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "apt-get and dpkg are needed: install mosquitto and nats-server by yourself" >&2
    exit 1
fi
folder=$PWD/build/peers
mkdir -p "$folder/bin" "$folder/root"

# What they need beside what every Debian has; a package that is unknown here is left out.
for package in mosquitto libmosquitto1 libcjson1 libdlt2 libwrap0 libwebsockets17 libev4 libuv1 nats-server; do
    (
        cd "$folder"
        apt-get download -qq -o APT::Sandbox::User=root "$package" 2>/dev/null &&
            dpkg -x "$package"_*.deb root
    ) || echo "not found: $package" >&2
done
rm -f "$folder"/*.deb

libraries=$folder/root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
for program in usr/sbin/mosquitto usr/bin/mosquitto_passwd usr/bin/nats-server usr/sbin/nats-server; do
    [ -x "$folder/root/$program" ] || continue
    name=$(basename "$program")
    printf '#!/bin/sh\nexec env LD_LIBRARY_PATH=%s %s "$@"\n' "$libraries" "$folder/root/$program" >"$folder/bin/$name"
    chmod +x "$folder/bin/$name"
    echo "$folder/bin/$name"
done
