# Entry points for users, packagers and CI. `make help` lists the main ones.

prefix       ?= /usr
bindir       ?= $(prefix)/bin
mandir       ?= $(prefix)/share/man
docdir       ?= $(prefix)/share/doc/ina260-exporter
# systemd and udev search /usr/lib and /usr/local/lib.
libdir       ?= $(prefix)/lib
sysconfdir   ?= /etc
bashcompdir  ?= $(prefix)/share/bash-completion/completions
zshcompdir   ?= $(prefix)/share/zsh/site-functions
fishcompdir  ?= $(prefix)/share/fish/vendor_completions.d

# The architectures of `make packages`; `make deb` builds for this machine by default.
architectures := amd64 arm64 armhf
ARCH       ?= $(shell dpkg --print-architecture 2>/dev/null)

# Exported, because a configuration of cargo may name another directory.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
binary     ?= $(CARGO_TARGET_DIR)/release/ina260-exporter
version    := $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
package     = dist/ina260-exporter_$(version)_$(ARCH).deb
INSTALL    := install -D -p

.DEFAULT_GOAL := build
.PHONY: build run test fuzz soak bench docs system-test prometheus-test help clean toolchain \
        check version fmt clippy doc deny man shell workflows terminal unit scrape rules \
        dashboard nginx fleet victoria container deb lintian packages reproducible release from-nothing piuparts \
        autopkgtest test-arch install

# Shown by --version and in ina260_exporter_build_info.
build deb reproducible: export INA260_EXPORTER_REVISION ?= \
        $(shell git rev-parse --short=12 HEAD 2>/dev/null)

build: toolchain ## build the release binary (the default)
	cargo build --release --locked

run: build ## run the daemon with a simulated sensor
	@echo "simulated sensor: http://localhost:8000/metrics (press Ctrl-C to stop)"
	@"$(binary)" --simulate

test: toolchain ## run the tests, which need neither hardware nor root
	cargo test --locked

# Prints the seed; FUZZ_SEED repeats a run.
fuzz: export FUZZ_SECONDS ?= 15
fuzz: export FUZZ_SEED ?= $(shell date +%s)
fuzz: toolchain ## fuzz configurations, scrapes, saved counters and register words for FUZZ_SECONDS=15 each
	cargo test --locked --test fuzz -- --nocapture

bench: deb ## measure speed and memory; as root, also compare with other programs in a VM
	benches/run
	@if [ "$$(id -u)" = 0 ]; then DEB=$(package) tests/system/run --release bookworm peers; \
	else echo "not run: the comparison with other programs in a VM, which needs root"; fi

docs: toolchain ## regenerate tables, lists of options, completions and the power chart
	UPDATE_GOLDEN=1 cargo test --locked --test reference --test completions --test picture \
		--test config

system-test: deb ## run the system tests in VMs: ONLY=scenario, RELEASE=trixie, ARCH=arm64 (root)
	DEB=$(package) tests/system/run $(RELEASE:%=--release %) $(ONLY)

soak: export FUZZ_SECONDS ?= 600
soak: fuzz ## fuzz each input for 10 min, then 20 min of random faults in a VM (root)
	$(MAKE) system-test RELEASE=bookworm ONLY=soak

prometheus-test: dashboard nginx fleet victoria ## test the examples with Prometheus, VictoriaMetrics and nginx

help: ## list the main targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

clean: ## remove build results
	rm -rf target dist

# Prints the command that installs what is missing.
toolchain:
	@.ci/check-toolchain make

# -- checks ----------------------------------------------------------------------------------------

checks := version fmt clippy doc deny man shell workflows unit test scrape terminal rules
check: $(checks) ## run tests, lints and documentation checks (no VM, no root)

# $(call need,command,how to install it)
need = @command -v $(1) >/dev/null || { \
	echo "make $@: $(1) not found; install it: $(2)" >&2; exit 1; }
# A package of its own since Debian 13.
need_promtool = $(call need,promtool,apt-get install promtool (Debian 12: prometheus))

version:
	@grep -qx 'version = "$(version)"' Cargo.toml || { \
		echo "make $@: Cargo.toml does not have version $(version) of debian/changelog" >&2; \
		exit 1; }

fmt: toolchain
	cargo fmt --check

clippy: toolchain
	cargo clippy --locked --all-targets -- -D warnings

doc: toolchain
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

workflows:
	$(call need,zizmor,pip install --require-hashes --requirement .ci/requirements.txt)
	zizmor --offline --strict-collection --persona=pedantic .github/workflows

terminal: build
	$(call need,tmux,apt-get install tmux)
	cargo build --locked --example watch_panics
	tests/terminal/run "$(binary)" "$(CARGO_TARGET_DIR)/debug/examples/watch_panics"

unit: build
	$(call need,systemd-analyze,apt-get install systemd)
	.ci/check-unit "$(binary)"

scrape: build
	$(need_promtool)
	$(call need,curl,apt-get install curl)
	.ci/check-scrape "$(binary)"

rules:
	$(need_promtool)
	.ci/check-rules

# -- tests with a real Prometheus ------------------------------------------------------------------

need_prometheus = $(call need,prometheus,apt-get install prometheus (or only its programs))

dashboard: build
	$(need_prometheus)
	cargo build --locked --example day
	tests/prometheus/dashboard.py "$(binary)" "$(CARGO_TARGET_DIR)/debug/examples/day"

nginx: build
	$(need_prometheus)
	$(call need,nginx,apt-get install nginx-light (or only its /usr/sbin/nginx))
	tests/prometheus/nginx.py "$(binary)"

fleet: build
	$(need_prometheus)
	tests/prometheus/fleet.py "$(binary)"

victoria: build
	$(call need,victoria-metrics,apt-get install victoria-metrics (or only its program))
	tests/prometheus/victoria.py "$(binary)"

# -- packages --------------------------------------------------------------------------------------

# The tests have their own target; in the package build they would double its time on a Pi.
deb reproducible: export DEB_BUILD_OPTIONS ?= nocheck
deb: ## build the package in dist/ for this machine, or ARCH=amd64, arm64 or armhf
	.ci/build-deb $(ARCH)

# Uses the Debian profile on Ubuntu, too: Ubuntu's rejects the names of Debian releases.
lintian: deb ## run lintian on the package
	$(call need,lintian,apt-get install lintian)
	lintian --profile debian --pedantic --fail-on error,warning --info target/deb/$(ARCH)/*.changes

packages: ## build and lint the packages for all architectures
	for arch in $(architectures); do $(MAKE) lintian ARCH=$$arch || exit; done
	.ci/check-package $(architectures:%=dist/ina260-exporter_$(version)_%.deb)
	cd dist && sha256sum $(architectures:%=ina260-exporter_$(version)_%.deb) > SHA256SUMS

reproducible: packages ## build the packages again elsewhere and compare every byte
	for arch in $(architectures); do .ci/check-reproducible $$arch || exit; done

release: ## set VERSION=1.2.3 everywhere, commit, build the packages and dist/SHA256SUMS
	.ci/release "$(VERSION)"

from-nothing: ## run the README's first commands on bare Debian 12 and 13 systems (root)
	tests/package/from-nothing bookworm
	tests/package/from-nothing trixie

container: build ## run the exporter in a systemd-nspawn container (root)
	$(call need,systemd-nspawn,apt-get install systemd-container)
	$(call need,curl,apt-get install curl)
	tests/package/container "$(binary)"

piuparts: deb ## test installing, upgrading and purging on Debian 12 and 13 (root)
	$(call need,piuparts,apt-get install piuparts)
	tests/package/piuparts

autopkgtest: deb ## run debian/tests on Debian 12 and 13 (root)
	$(call need,autopkgtest,apt-get install autopkgtest)
	tests/package/autopkgtest

test-arch: deb ## test the package of ARCH=arm64 or armhf under qemu (root)
	$(call need,qemu-aarch64-static,apt-get install qemu-user-static)
	tests/package/emulated $(ARCH) $(package)

# -- installation ----------------------------------------------------------------------------------

# Installs what `make` built, and builds nothing, so that root does not run cargo. debian/rules uses
# this target, too.
install: ## install under DESTDIR and prefix
	$(INSTALL) -m 755 "$(binary)" "$(DESTDIR)$(bindir)/ina260-exporter"
	@# Keeps an edited configuration.
	test -e "$(DESTDIR)$(sysconfdir)/ina260-exporter.toml" || $(INSTALL) -m 644 \
		config/ina260-exporter.toml "$(DESTDIR)$(sysconfdir)/ina260-exporter.toml"
	$(INSTALL) -m 644 systemd/ina260-exporter.service \
		"$(DESTDIR)$(libdir)/systemd/system/ina260-exporter.service"
	sed -i 's|/usr/bin/ina260-exporter|$(bindir)/ina260-exporter|' \
		"$(DESTDIR)$(libdir)/systemd/system/ina260-exporter.service"
	$(INSTALL) -m 644 systemd/ina260-exporter.sysusers \
		"$(DESTDIR)$(libdir)/sysusers.d/ina260-exporter.conf"
	$(INSTALL) -m 644 systemd/ina260-exporter.udev \
		"$(DESTDIR)$(libdir)/udev/rules.d/60-ina260-exporter.rules"
	$(INSTALL) -m 644 systemd/ina260-exporter.modules-load \
		"$(DESTDIR)$(libdir)/modules-load.d/ina260-exporter.conf"
	$(INSTALL) -m 644 docs/man/ina260-exporter.8 "$(DESTDIR)$(mandir)/man8/ina260-exporter.8"
	$(INSTALL) -m 644 docs/man/ina260-exporter.toml.5 \
		"$(DESTDIR)$(mandir)/man5/ina260-exporter.toml.5"
	$(INSTALL) -m 644 docs/completions/ina260-exporter.bash \
		"$(DESTDIR)$(bashcompdir)/ina260-exporter"
	$(INSTALL) -m 644 docs/completions/_ina260-exporter \
		"$(DESTDIR)$(zshcompdir)/_ina260-exporter"
	$(INSTALL) -m 644 docs/completions/ina260-exporter.fish \
		"$(DESTDIR)$(fishcompdir)/ina260-exporter.fish"
	$(INSTALL) -m 644 -t "$(DESTDIR)$(docdir)" README.md CHANGELOG.md SECURITY.md
	$(INSTALL) -m 644 -t "$(DESTDIR)$(docdir)/docs" docs/*.svg docs/*.md
	find config -mindepth 2 -type f -printf '%P\n' | while read -r file; do \
		$(INSTALL) -m 644 "config/$$file" "$(DESTDIR)$(docdir)/examples/$$file" || exit; done
