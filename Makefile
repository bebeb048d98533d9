# What a user, a packager and CI call. `make help` lists it.

prefix       ?= /usr
bindir       ?= $(prefix)/bin
mandir       ?= $(prefix)/share/man
docdir       ?= $(prefix)/share/doc/ina260-exporter
# systemd and udev look in /usr/lib and /usr/local/lib.
libdir       ?= $(prefix)/lib
sysconfdir   ?= /etc
bashcompdir  ?= $(prefix)/share/bash-completion/completions
zshcompdir   ?= $(prefix)/share/zsh/site-functions
fishcompdir  ?= $(prefix)/share/fish/vendor_completions.d

# What packages are built for; `make deb` builds for this machine.
architectures := amd64 arm64 armhf
ARCH       ?= $(shell dpkg --print-architecture 2>/dev/null)

target_dir := $(or $(CARGO_TARGET_DIR),target)
binary     ?= $(target_dir)/release/ina260-exporter
version    := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
INSTALL    := install -D -p

.DEFAULT_GOAL := build
.PHONY: build run test check version fmt clippy doc deny scrape terminal unit man shell rules deb lintian \
        packages reproducible release piuparts autopkgtest test-arch \
        install bench system-test prometheus-test dashboard nginx fleet clean help

# Shown by --version and in ina260_exporter_build_info.
build deb reproducible: export INA260_EXPORTER_REVISION ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)

build: ## build the release binary (the default)
	cargo build --release --locked

run: build ## run the daemon on a simulated sensor
	@echo "http://localhost:8000/metrics shows a simulated sensor; Ctrl-C ends it"
	@$(binary) --simulate

test: ## all tests that need no hardware and no root
	cargo test --locked

bench: ## measure speed and memory; prints them, and writes target/bench/summary.json
	benches/run

system-test: deb ## prove the package in virtual machines; ONLY=name runs one scenario, RELEASE=bookworm or trixie on one of them, ARCH=arm64 the package of a 64-bit Pi
	DEB=dist/ina260-exporter_$(version)_$(ARCH).deb tests/system/run $(RELEASE:%=--release %) $(ONLY)

prometheus-test: dashboard nginx fleet ## prove the examples with a real Prometheus, real exporters and nginx

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

clean: ## remove what was built
	rm -rf target dist

# -- checks -------------------------------------------------------------------------------------------------

check: version fmt clippy doc deny man shell unit test scrape terminal rules ## all that can be checked without a virtual machine

# $(call need,command,how to get it)
need = @command -v $(1) >/dev/null || { echo "make $@: $(1) is missing: $(2)" >&2; exit 1; }

version:
	@grep -qx 'version = "$(version)"' Cargo.toml || { \
		echo "make $@: Cargo.toml and debian/changelog ($(version)) name different versions" >&2; exit 1; }

fmt:
	cargo fmt --check

clippy:
	cargo clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

deny:
	$(call need,cargo-deny,cargo install --locked cargo-deny)
	.ci/check-dependencies

man:
	$(call need,man,apt-get install man-db)
	$(call need,groff,apt-get install groff-base)
	.ci/check-manuals docs/man/ina260-exporter.8 docs/man/ina260-exporter.toml.5

shell:
	$(call need,shellcheck,apt-get install shellcheck)
	.ci/check-scripts

terminal: build
	$(call need,tmux,apt-get install tmux)
	cargo build --locked --example watch_panics
	tests/terminal/run $(binary) $(target_dir)/debug/examples/watch_panics

unit: build
	$(call need,systemd-analyze,apt-get install systemd)
	.ci/check-unit $(binary)

scrape: build
	$(call need,promtool,apt-get install prometheus (or only its /usr/bin/promtool))
	$(call need,curl,apt-get install curl)
	.ci/check-scrape $(binary)

rules:
	$(call need,promtool,apt-get install prometheus (or only its /usr/bin/promtool))
	.ci/check-rules

# -- with a real Prometheus -----------------------------------------------------------------------------------

prometheus = $(call need,prometheus,apt-get install prometheus (or only its /usr/bin/prometheus and promtool))

dashboard: build
	$(prometheus)
	tests/prometheus/dashboard.py $(binary)

nginx: build
	$(prometheus)
	$(call need,nginx,apt-get install nginx-light (or only its /usr/sbin/nginx))
	tests/prometheus/nginx.py $(binary)

fleet: build
	$(prometheus)
	tests/prometheus/fleet.py $(binary)

# -- the package --------------------------------------------------------------------------------------------

# Tests have their own target; run inside the package build they would only double its time on a Pi.
deb reproducible: export DEB_BUILD_OPTIONS ?= nocheck
deb: ## build dist/ina260-exporter_<version>_<arch>.deb, ARCH=amd64, arm64 or armhf; this machine's also as dist/ina260-exporter.deb
	.ci/build-deb $(ARCH)

lintian: deb ## what Debian's own checker says of the package
	$(call need,lintian,apt-get install lintian)
	lintian --pedantic --fail-on error,warning --info target/deb/$(ARCH)/*.changes

packages: ## the packages of all architectures, held to their bounds and by lintian
	for arch in $(architectures); do $(MAKE) lintian ARCH=$$arch || exit; done
	.ci/check-package $(architectures:%=dist/ina260-exporter_$(version)_%.deb)

reproducible: packages ## build them again elsewhere, and compare every byte
	for arch in $(architectures); do .ci/check-reproducible $$arch || exit; done

release: ## VERSION=1.2.3: that version everywhere, a commit, the packages and dist/SHA256SUMS
	.ci/release "$(VERSION)"

piuparts: deb ## install, upgrade and purge the package on a Debian 12 and a Debian 13, and look for what it leaves; takes root
	$(call need,piuparts,apt-get install piuparts)
	tests/package/piuparts

autopkgtest: deb ## run debian/tests on the package in a Debian 12 and a Debian 13; takes root
	$(call need,autopkgtest,apt-get install autopkgtest)
	tests/package/autopkgtest

test-arch: deb ## prove another architecture's package under qemu, ARCH=arm64 or armhf; takes root
	$(call need,qemu-aarch64-static,apt-get install qemu-user-static)
	tests/package/emulated $(ARCH) dist/ina260-exporter_$(version)_$(ARCH).deb

# -- installation -------------------------------------------------------------------------------------------

# Installs what `make` built and builds nothing itself, so that root never runs cargo. The package is made by it, too.
install: ## install below DESTDIR
	$(INSTALL) -m 755 $(binary) $(DESTDIR)$(bindir)/ina260-exporter
	@# Never over a file that somebody edited.
	test -e $(DESTDIR)$(sysconfdir)/ina260-exporter.toml || \
		$(INSTALL) -m 644 config/ina260-exporter.toml $(DESTDIR)$(sysconfdir)/ina260-exporter.toml
	$(INSTALL) -m 644 systemd/ina260-exporter.service $(DESTDIR)$(libdir)/systemd/system/ina260-exporter.service
	sed -i 's|/usr/bin/ina260-exporter|$(bindir)/ina260-exporter|' $(DESTDIR)$(libdir)/systemd/system/ina260-exporter.service
	$(INSTALL) -m 644 systemd/ina260-exporter.sysusers $(DESTDIR)$(libdir)/sysusers.d/ina260-exporter.conf
	$(INSTALL) -m 644 systemd/ina260-exporter.udev $(DESTDIR)$(libdir)/udev/rules.d/60-ina260-exporter.rules
	$(INSTALL) -m 644 systemd/ina260-exporter.modules-load $(DESTDIR)$(libdir)/modules-load.d/ina260-exporter.conf
	$(INSTALL) -m 644 docs/man/ina260-exporter.8 $(DESTDIR)$(mandir)/man8/ina260-exporter.8
	$(INSTALL) -m 644 docs/man/ina260-exporter.toml.5 $(DESTDIR)$(mandir)/man5/ina260-exporter.toml.5
	$(INSTALL) -m 644 docs/completions/ina260-exporter.bash $(DESTDIR)$(bashcompdir)/ina260-exporter
	$(INSTALL) -m 644 docs/completions/_ina260-exporter $(DESTDIR)$(zshcompdir)/_ina260-exporter
	$(INSTALL) -m 644 docs/completions/ina260-exporter.fish $(DESTDIR)$(fishcompdir)/ina260-exporter.fish
	$(INSTALL) -m 644 -t $(DESTDIR)$(docdir) README.md CHANGELOG.md
	$(INSTALL) -m 644 -t $(DESTDIR)$(docdir)/docs docs/*.svg docs/*.md
	find config -mindepth 2 -type f -printf '%P\n' | while read -r file; do \
		$(INSTALL) -m 644 "config/$$file" "$(DESTDIR)$(docdir)/examples/$$file" || exit; done
