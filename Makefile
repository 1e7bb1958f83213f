# SPDX-License-Identifier: Apache-2.0
#
# Thin on purpose: `make help` lists the targets; longer work is in scripts/.

# sudo may not have Go on its PATH.
GO        ?= $(shell command -v go || echo /usr/local/go/bin/go)
ARCHES    := amd64 arm64 s390x ppc64le riscv64
VERSION   ?= $(shell (git describe --tags --always --dirty 2>/dev/null || echo unknown) | sed 's/^v//')
DISTRO    := firstboot.dev/ignition/internal/distro
# More link-time settings for distributions: make EXTRA_LDFLAGS="-X $(DISTRO).NAME=VALUE"
LDFLAGS   := -X $(DISTRO).Version=$(VERSION) $(EXTRA_LDFLAGS)
# Inlining costs 0.7 MiB of every initramfs, and pays where bytes are worked on.
HOT       := bufio bytes strings compress/flate \
             $(addprefix crypto/internal/fips140/,aes/... sha256 sha512 sha3 bigmod)
GCFLAGS   := -gcflags=all=-l $(HOT:%=-gcflags=%=)
# So does letting each function begin at a multiple of 32 bytes: a quarter of a MiB.
LDFLAGS   += -funcalign=2
# A run of seconds gains nothing from the larger garbage collector; a Go that has no other does not know its name.
export GOEXPERIMENT ?= $(shell GOEXPERIMENT=nogreenteagc $(GO) list unsafe >/dev/null 2>&1 && echo nogreenteagc)
BUILD     := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false $(GCFLAGS) -ldflags "-s -w $(LDFLAGS)"
NAMES     := validate apply rmcfg
TESTFLAGS ?=
FUZZTIME  ?= 60s
BENCHTIME ?= 1s
COUNT     ?= 6

prefix     ?= /usr
bindir     ?= $(prefix)/bin
libexecdir ?= $(prefix)/libexec

export GO LDFLAGS GCFLAGS FUZZTIME BENCHTIME COUNT TESTFLAGS RUN SOAK

.DEFAULT_GOAL := help

help: ## Lists the targets.
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r t d; do printf '  make %-14s %s\n' "$$t" "$$d"; done

build: ## Builds bin/ignition (static, stripped) and links its other names beside it.
	$(BUILD) -o bin/ignition ./cmd/ignition
	@for n in $(NAMES); do ln -sf ignition bin/ignition-$$n; done
	@ln -sf ignition bin/butane

build-all: ## Builds bin/ARCH/ignition for amd64, arm64, s390x, ppc64le and riscv64.
	@for a in $(ARCHES); do echo "GOARCH=$$a -> bin/$$a/ignition"; GOARCH=$$a $(BUILD) -o bin/$$a/ignition ./cmd/ignition || exit 1; done

test: ## Runs every test; those that need root or a missing tool say so and are skipped.
	$(GO) test $(TESTFLAGS) ./...

race: ## Runs every test under the race detector (needs a C compiler).
	CGO_ENABLED=1 $(GO) test -race $(TESTFLAGS) ./...

lint: ## Checks formatting, go vet, staticcheck and, where present, shellcheck.
	scripts/lint

check: ## Runs what CI runs: build, build-all, lint, docs, test.
check: build build-all lint docs test

fuzz: ## Runs every fuzz target for FUZZTIME (60s) each.
	scripts/fuzz

golden: ## Rewrites the golden files; read the diff before you commit it.
	scripts/golden

test-net: ## Runs the tests against real servers, in network namespaces (Debian; root installs what is missing). RUN=regexp chooses.
	@scripts/test-net

test-vm: ## Runs the tests that need disks in an emulated machine (Debian; root installs what is missing). RUN=regexp chooses.
	@scripts/test-vm

test-vm-all: ## Runs the slow ones too; SOAK=100 repeats those that could race.
	@VM_ALL=1 scripts/test-vm

bench: ## Runs the Go benchmarks COUNT (6) times, for `go tool benchstat`, and measures the disks stage in an emulated machine.
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -count $(COUNT) ./...
	VM_BENCH=1 RUN=TestBench TESTFLAGS="-v -timeout=30m" scripts/test-vm
	NET_BENCH=1 RUN=TestBench TESTFLAGS="-v -timeout=20m" scripts/test-net
	VM=1 VM_BENCH=1 $(GO) test -count=1 -v -timeout 60m -run TestBootBench ./tests/vm/boot

bench-compare: ## Measures this build against Debian's ignition 2.14, side by side (root, Debian).
bench-compare: build
	scripts/bench-compare $(BENCHFLAGS)

size: ## Shows the size of the binary, raw and zstd -19, and the biggest packages in it.
	scripts/size

demo: ## Provisions a scratch tree from a local metadata service and shows log and result (root).
demo: build
	scripts/demo

boot-demo: ## Builds a machine image and boots it here, in emulation, with CONFIG=FILE as its user data; CHECK=1 verifies the result (root, Debian).
	@CONFIG="$(CONFIG)" scripts/boot-demo $(if $(CHECK),--check)

docs: ## Checks the links between the documents and the commands that they name.
	scripts/docs

site: ## Builds the documents as a web site in bin/site (mkdocs).
	scripts/site

install: ## Installs binary, names, dracut modules, units, man pages and completions under DESTDIR.
install: build
	install -D -m 0755 bin/ignition $(DESTDIR)$(bindir)/ignition
	install -d $(DESTDIR)$(libexecdir)
	ln -sf ignition $(DESTDIR)$(bindir)/ignition-validate
	ln -sf ignition $(DESTDIR)$(bindir)/butane
	ln -sf ../bin/ignition $(DESTDIR)$(libexecdir)/ignition-apply
	ln -sf ../bin/ignition $(DESTDIR)$(libexecdir)/ignition-rmcfg
	scripts/install-module "$(DESTDIR)" "$(prefix)"
	scripts/install-completions "$(DESTDIR)" "$(prefix)"

deb: ## Builds bin/ignition_VERSION_ARCH.deb, all that an image builder installs (dpkg-deb).
deb:
	@scripts/deb

clean: ## Removes what make built.
	rm -rf bin

.PHONY: help build build-all test test-net test-vm test-vm-all race lint check fuzz golden bench bench-compare size demo boot-demo docs site install deb clean
