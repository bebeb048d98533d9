#!/bin/bash
# A removal that fails leaves the service as it was, running or stopped; one that succeeds stops it,
# and leaves no failed unit.
. scenarios/lib.sh
start_service
pid=$(property MainPID)
scripts=/var/lib/dpkg/info/$service

# is_as_before: fails unless the same process is still running.
is_as_before() {
    expect "service" "active $pid" "$(property ActiveState) $(property MainPID)"
    shows ina260_up 1
}

# A package that replaces ours, and whose installation fails.
mkdir -p rival/DEBIAN
cat >rival/DEBIAN/control <<END
Package: rival
Version: 1
Architecture: all
Maintainer: Rival <rival@example.org>
Conflicts: $service
Replaces: $service
Provides: $service
Description: conflicts with the exporter
END
printf '#!/bin/sh\nexit 1\n' >rival/DEBIAN/preinst
chmod 755 rival/DEBIAN/preinst
dpkg-deb --root-owner-group --build rival rival.deb
must_fail dpkg --install rival.deb
is_as_before

# A script that fails before the removal, after what our package does in it.
cp "$scripts.prerm" /tmp/prerm 2>/dev/null || echo '#!/bin/sh' >/tmp/prerm
cp /tmp/prerm "$scripts.prerm"
echo 'exit 1' >>"$scripts.prerm"
chmod 755 "$scripts.prerm"
must_fail dpkg --remove "$service"
is_as_before
systemctl stop "$service"
must_fail dpkg --remove "$service"
expect "stopped service" inactive "$(property ActiveState)"
systemctl start "$service"
pid=$(property MainPID)
cp /tmp/prerm "$scripts.prerm"

# The removal succeeds.
dpkg --remove "$service"
must_fail pgrep --exact ina260-exporter
must_fail scrape

# A service that failed.
install_package
configure 'address = 5'
must_fail systemctl restart "$service"
expect "service" failed "$(property ActiveState)"
dpkg --remove "$service"
expect "failed units" "" "$(systemctl list-units --failed --no-legend)"
