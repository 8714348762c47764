# Every target does all of its own set-up; what it builds for its tests goes
# into a cache folder outside the tree (e2e/tools/build).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A checkout may belong to another user than the one who builds, as in CI: git then
# tells go nothing.
export GOFLAGS := $(strip $(shell go env GOFLAGS) -buildvcs=false)

MODULE  := github.com/plexus-cni/plexus
OUT     := $(CURDIR)/out
TESTSUM := $(OUT)/testsum
MODULES := $(patsubst %/go.mod,%,$(wildcard ./go.mod ./e2e/go.mod ./hack/*/go.mod))

# What a user may set.
export TESTSUM_LOGS = $(LOGS)
RUN          ?=
FUZZ         ?= .
FUZZTIME     ?= 30s
BENCHFLAGS   ?=
QUICK        ?=
README       ?=
LOGS         ?=
KEEP         ?=
COVERAGE_MIN ?= 85
PLATFORMS    ?= linux/amd64,linux/arm64
IMAGE        ?= localhost/plexus:$(version)
DEPLOY       ?= deploy
PUSH         ?=
# Where the files of a release will be, for krew.
DOWNLOADS    ?= https://localhost/plexus
# Of make cluster: its network (bridge, flannel, calico, canal), whether it starts with Multus, and
# where it is; of make cluster-shell: the node, and what to run instead of a shell.
MASTER       ?= bridge
MULTUS       ?=
CLUSTER_DIR  ?= $(OUT)/cluster
NODE         ?= node1
CMD          ?=
# The kind cluster of make kind-load, kind's own default if empty.
KIND         ?=
# The trees whose code is mutated, the percentage of mutants that a test must notice, and how
# long each tree may take.
MUTATE       ?= delegate internal/plugin/vf k8sclient
MUTATE_MIN   ?= 80
MUTATE_TIME  ?= 60m
RACE         ?= $(if $(shell command -v gcc),-race)

# Debian packages that tests of real networks need, as command:package.
NET_DEBS := ip:iproute2 iptables:iptables nft:nftables ping:iputils-ping strace:strace \
	ethtool:ethtool sysctl:procps tcpdump:tcpdump tshark:tshark
# What nodes of a real cluster need besides.
E2E_DEBS := runc:runc containerd:containerd busybox:busybox-static conntrack:conntrack ipset:ipset \
	conmon:conmon podman:podman pkg-config:pkg-config chromium:chromium
# What those of make cluster need.
CLUSTER_DEBS := runc:runc busybox:busybox-static conntrack:conntrack ipset:ipset

# What tests read to find executables, for each set of e2e/tools.
export PLEXUS_BIN := $(CURDIR)/bin
VAR_plugins := PLEXUS_CNI_BIN
VAR_kube    := PLEXUS_KUBE_BIN
VAR_multus  := PLEXUS_MULTUS_BIN
VAR_deploy  := PLEXUS_DEPLOY_BIN
VAR_prom    := PLEXUS_PROM_BIN
VAR_cluster := PLEXUS_CLUSTER_BIN
VAR_flannel := PLEXUS_FLANNEL_BIN
VAR_flannelcni := PLEXUS_FLANNELCNI_BIN
VAR_calico  := PLEXUS_CALICO_BIN
VAR_weave   := PLEXUS_WEAVE_BIN
VAR_crio    := PLEXUS_CRIO_BIN
# $(call with,SETS) builds the sets, if need be, and exports where they are.
with = $(foreach s,$(1),$(VAR_$(s))="$$(e2e/tools/build $(s))" && export $(VAR_$(s)) &&)

# The version, from git where there is any: without a tag the commit names it, as two builds under
# one name could not be told apart. It is a tag of an image, and a semantic version for the chart.
version = $$(git describe --tags --dirty --match 'v[0-9]*' 2>/dev/null || \
	echo v0.0.0-dev$$(git describe --always --abbrev=12 --dirty=.dirty --exclude '*' 2>/dev/null | sed 's/^/.g/'))
commit  = $$(git rev-parse --quiet --verify HEAD 2>/dev/null || echo unknown)
date    = $$(TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || echo unknown)
stamp   = -X $(MODULE)/internal/version

COMMANDS := $(sort $(dir $(wildcard cmd/*/*.go)))
# The trees whose coverage is held, and the profiles that count for each.
COVERED  := $(foreach t,types delegate,$(if $(wildcard $(t)/*.go $(t)/*/*.go),$(t)))
comma    := ,
COVERPKG := $(subst $() ,$(comma),$(strip $(COVERED:%=./%/...)))
UNIT_PROFILE  := $(OUT)/unit.cover
NETNS_PROFILE := $(OUT)/netns.cover
# What the executables themselves ran while the tests in namespaces drove them.
DRIVEN_PROFILE := $(OUT)/driven.cover
DRIVEN_BIN     := $(OUT)/driven
DRIVEN_DATA    := $(OUT)/driven.data
PROFILES_types    := $(UNIT_PROFILE)
PROFILES_delegate := $(UNIT_PROFILE) $(NETNS_PROFILE) $(DRIVEN_PROFILE)

# $(call go_test,PROFILE): go test as testsum reads it, with coverage.
go_test = go test -json -count=1 $(if $(COVERPKG),-covermode=atomic -coverpkg=$(COVERPKG) -coverprofile=$(1))

# What a build says of itself.
stamps = $(stamp).Version=$(version) $(stamp).Commit=$(commit) $(stamp).Date=$(date) $(stamp).Stamp=plexus-cni.io/version=$(version);

.PHONY: help
help: ## print this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build every command into bin/
	@mkdir -p bin
	@$(if $(COMMANDS),CGO_ENABLED=0 go build -trimpath -buildvcs=false -o bin/ \
		-ldflags "-s -w $(stamps)" \
		$(COMMANDS:%=./%),echo "make: there is nothing under cmd/ yet" >&2)

.PHONY: man
man: ## the manual pages of kubectl-plexus, into out/man
	@rm -rf $(OUT)/man
	@CGO_ENABLED=0 go run -ldflags "$(stamp).Version=$(version) $(stamp).Date=$(date)" ./internal/window/man $(OUT)/man

.PHONY: image
image: ## the container image, without a base image, into out/; IMAGE=, PLATFORMS=, PUSH=1, DEPLOY=
	@$(call make_image,--output $(OUT)/plexus-image.tar --docker --kustomization out/deploy --deploy "$(DEPLOY)" $(if $(PUSH),--push))

# $(call make_image,FLAGS): build the builder, and let it build.
define make_image
mkdir -p $(OUT); (cd hack/image && CGO_ENABLED=0 go build -o $(OUT)/image .); \
$(OUT)/image --source . --platforms "$(PLATFORMS)" --ref "$(IMAGE)" \
	--version "$(version)" --commit "$(commit)" --date "$(date)" $(1)
endef

# What .github/workflows/release.yaml runs; the same commit gives the same files.
.PHONY: release
release: ## every file of a release, into out/release; IMAGE=, PLATFORMS=, PUSH=1
	@rm -rf $(OUT)/release
	@$(call make_image,--output "$(OUT)/release/plexus-$(version)-image.tar" --release $(OUT)/release --downloads "$(DOWNLOADS)" $(if $(PUSH),--push))

.PHONY: vulncheck
vulncheck: ## govulncheck over every module; it asks the network for known faults
	@tools=$$(e2e/tools/build vuln); status=0; \
	for m in $(MODULES); do (cd $$m && "$$tools/govulncheck" ./...) || status=1; done; exit $$status

# Each part runs whatever became of the one before, so that the count is of all.
TEST_STEPS := lint test-unit test-image test-netns test-integration cover

.PHONY: test
test: $(TESTSUM) ## lint and every test, with a count of passes, failures and skips
	@export TESTSUM_STORE=$(OUT)/tests.jsonl; \
	rm -f "$$TESTSUM_STORE" $(UNIT_PROFILE) $(NETNS_PROFILE) $(DRIVEN_PROFILE); \
	for t in $(TEST_STEPS); do \
		echo "==== $$t"; \
		$(TESTSUM) step "make $$t" $(MAKE) $$t || true; \
	done; \
	$(TESTSUM) report | tee $(OUT)/summary

.PHONY: test-unit
test-unit: build $(TESTSUM) ## tests that need neither root nor a cluster
	@$(TESTSUM) run unit $(call go_test,$(UNIT_PROFILE)) -timeout 10m $(RACE) -skip '^TestNetns' $(if $(RUN),-run '$(RUN)') ./...
	@cd e2e && $(TESTSUM) run bench go test -json -count=1 -timeout 10m $(if $(RUN),-run '$(RUN)') ./bench

.PHONY: test-image
test-image: $(TESTSUM) ## the container image: what is in it, and that it is the same twice
	@cd hack/image && $(TESTSUM) run image go test -json -count=1 -timeout 10m $(if $(RUN),-run '$(RUN)') ./...

.PHONY: test-netns
test-netns: need-root deps-net build $(TESTSUM) ## tests in network namespaces, with the reference plugins (root)
	@rm -rf $(DRIVEN_BIN) $(DRIVEN_DATA) $(DRIVEN_PROFILE) && mkdir -p $(DRIVEN_BIN) $(DRIVEN_DATA)
	@CGO_ENABLED=0 go build -cover -covermode=atomic -coverpkg=$(COVERPKG),./cmd/plexus -ldflags "$(stamps)" -o $(DRIVEN_BIN)/ ./cmd/plexus ./cmd/plexus-once
	@CGO_ENABLED=0 go build -ldflags "$(stamps)" -o $(DRIVEN_BIN)/ ./cmd/plexus-agent ./cmd/plexus-sriov ./cmd/plexus-vhostuser ./cmd/kubectl-plexus
	@$(call with,plugins multus) \
	export PLEXUS_BIN=$(DRIVEN_BIN) PLEXUS_COVER_DIR=$(DRIVEN_DATA) || exit 1; status=0; \
	$(TESTSUM) run netns $(call go_test,$(NETNS_PROFILE)) -timeout 10m -run '$(or $(RUN),^TestNetns)' ./... || status=1; \
	go tool covdata textfmt -i=$(DRIVEN_DATA) -o $(DRIVEN_PROFILE) || status=1; exit $$status

.PHONY: test-integration
test-integration: need-root deps-net build $(TESTSUM) ## tests with a real etcd and kube-apiserver (root)
	@$(call with,plugins kube multus deploy prom) \
	cd e2e && $(TESTSUM) run integration go test -json -count=1 -timeout 20m -run '$(or $(RUN),^TestKube)' ./...

.PHONY: cover
cover: $(TESTSUM) ## hold the coverage of the last test-unit and test-netns to COVERAGE_MIN
	@status=0; $(foreach t,$(COVERED),$(TESTSUM) cover $(COVERAGE_MIN) $(MODULE)/$(t) $(PROFILES_$(t)) || status=1;) exit $$status

# What the continuous integration runs: all of test, and the scenarios that fit.
.PHONY: ci
ci: ## what .ci/run runs: make test, and the scenarios that fit into its time
	@$(MAKE) test TEST_STEPS="$(TEST_STEPS) e2e-ci"

# The scenarios that the continuous integration leaves out, a line each: name, reason.
E2E_LEFT_OUT := $(CURDIR)/e2e/left-out
# $(call run_e2e,LABEL,FLAGS): one package after the other, as one machine has room for one cluster.
run_e2e = $(call with,plugins kube multus cluster flannel flannelcni calico weave crio deploy) \
	(cd hack/image && CGO_ENABLED=0 go build -o $(OUT)/image .) && export PLEXUS_IMAGE_BUILDER=$(OUT)/image PLEXUS_E2E_OUT=$(OUT)/e2e && \
	cd e2e && $(TESTSUM) run $(1) go test -json -count=1 -p 1 -timeout 100m $(2) ./...

.PHONY: e2e
e2e: need-root deps-net deps-e2e build $(TESTSUM) ## scenarios on real clusters; RUN= chooses some by name, LOGS=1 prints what they measured (root)
	@$(call run_e2e,e2e,-run '(?i)^TestE2E.*$(RUN:TestE2E%=%)')

.PHONY: e2e-ci
e2e-ci: need-root deps-net deps-e2e build $(TESTSUM) ## the scenarios that the continuous integration runs (root)
	@$(call run_e2e,e2e,-run '^TestE2E' -skip "^($$(sed '/^#/d; s/ .*//' $(E2E_LEFT_OUT) | paste -sd '|'))$$")

.PHONY: e2e-list
e2e-list: ## every scenario, and why the continuous integration leaves it out
	@grep -rhoE --include='*_test.go' '^func TestE2E[A-Za-z0-9_]*' e2e | sed 's/^func //' | sort | while read -r name; do \
		reason=$$(sed -n "s/^$$name //p" $(E2E_LEFT_OUT)); \
		printf '%-32s %s\n' "$$name" "$${reason:-in every run of the continuous integration}"; \
	done

.PHONY: bench
bench: need-root deps-net build ## compare Plexus and Multus with the plugins alone; QUICK=1, in 3 minutes; README=1, its table; BENCHFLAGS= (root)
	@$(call with,plugins kube multus) \
	cd e2e && go build -o $(OUT)/bench ./bench && exec $(OUT)/bench $(if $(QUICK),-quick) $(if $(README),-readme) $(BENCHFLAGS)

# Run without go run, which would add to what is printed and get in the way of Ctrl-C.
run_demo = $(call with,plugins) cd e2e && go build -o $(OUT)/demo ./demo && exec $(OUT)/demo

.PHONY: demo
demo: need-root deps-net build ## show what Plexus does; KEEP=1 leaves it standing (root)
	@export KEEP='$(KEEP)'; $(run_demo)

.PHONY: demo-clean
demo-clean: need-root deps-net build ## remove what make demo KEEP=1 left standing (root)
	@$(run_demo) -clean

# The sets that each cluster network needs besides.
SETS_bridge  :=
SETS_flannel := flannel flannelcni
SETS_calico  := calico
SETS_canal   := calico flannel
CLUSTER_SETS = plugins kube cluster $(SETS_$(MASTER)) $(if $(MULTUS),multus)
build_cluster = (cd e2e && go build -o $(OUT)/clusterctl ./cluster)
run_cluster = cd e2e && exec $(OUT)/clusterctl -dir '$(CLUSTER_DIR)' -source '$(CURDIR)'

.PHONY: cluster
cluster: need-root deps-net deps-cluster ## a cluster of two nodes with Plexus, to try it; MASTER=, MULTUS=1 (root)
	@[ -x $(OUT)/clusterctl ] || echo "The first time this builds Plexus, Kubernetes, containerd and the network from their modules: some ten minutes on two cores."
	@echo "[1/3] Plexus, and the command that makes the cluster"
	@$(MAKE) build && $(build_cluster) && (cd hack/image && CGO_ENABLED=0 go build -o $(OUT)/image .)
	@echo "[2/3] executables: $(strip $(CLUSTER_SETS))"
	@$(call with,$(CLUSTER_SETS)) export PLEXUS_IMAGE_BUILDER=$(OUT)/image && echo "[3/3] the cluster" && \
	$(run_cluster) -master '$(MASTER)' -multus=$(if $(MULTUS),true,false) up

.PHONY: cluster-shell
cluster-shell: need-root ## a shell on a node of make cluster; NODE=, CMD= (root)
	@[ -x $(OUT)/clusterctl ] || $(build_cluster)
	@$(run_cluster) -node '$(NODE)' -cmd "$$CLUSTER_CMD" shell
cluster-shell: export CLUSTER_CMD = $(value CMD)

.PHONY: cluster-down
cluster-down: need-root ## remove what make cluster has made (root)
	@[ -x $(OUT)/clusterctl ] || $(build_cluster)
	@$(run_cluster) down

.PHONY: kind-load
kind-load: ## build the image and load it into a cluster of kind; KIND= is its name
	@command -v kind >/dev/null || { echo "make: kind is not on the PATH: install it, or try make cluster, which needs nothing" >&2; exit 1; }
	@$(MAKE) image
	kind load image-archive $(OUT)/plexus-image.tar $(if $(KIND),--name '$(KIND)')
	@echo "Now: kubectl apply -k out/deploy/ (docs/install.md)"

.PHONY: lint
lint: $(TESTSUM) ## golangci-lint over every module
	@tools=$$(e2e/tools/build lint); status=0; \
	for m in $(MODULES); do \
		(cd $$m && $(TESTSUM) step "lint $$m" "$$tools/golangci-lint" run ./...) || status=1; \
	done; exit $$status

# Not counted by test, which runs the fuzz targets over their seeds only.
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME; FUZZ= chooses some by pattern
	@grep -rn --include='*_test.go' '^func Fuzz' . | sed -E 's/^(.*)\/[^/]*:[0-9]+:func (Fuzz[A-Za-z0-9_]*).*/\1 \2/' | sort -u | \
	{ grep -E -- '$(FUZZ)' || { echo "make: no fuzz target matches '$(FUZZ)'" >&2; exit 1; }; } | \
	while read -r dir name; do \
		echo "==== $$dir $$name"; \
		(cd $$dir && go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s . </dev/null); \
	done

# In a process namespace of their own, as a mutant may kill anything; mounts of its tests go with it.
apart := unshare --pid --fork --mount-proc --kill-child
# Tests that wait for seconds, for plugins that hang: promises.txt has what they keep.
MUTATE_SKIP := Hangs$$|DaemonLeftBehind$$|LockIsInherited$$

# Not part of test: it takes more than an hour.
.PHONY: mutate
mutate: promises ## break every promise, then any line of MUTATE=, and see that a test fails (root)
	@tools=$$(e2e/tools/build mutate); status=0; \
	for tree in $(MUTATE); do \
		echo "==== $$tree"; began=$$SECONDS; \
		GOFLAGS='$(GOFLAGS) -count=1 -skip=$(MUTATE_SKIP)' $(apart) timeout --foreground -s INT -k 1m $(MUTATE_TIME) \
			"$$tools/gremlins" unleash --workers 1 --timeout-coefficient 4 --output-statuses lt --threshold-efficacy $(MUTATE_MIN) ./$$tree || status=1; \
		echo "$$tree took $$(( (SECONDS - began) / 60 )) min"; \
	done; exit $$status

.PHONY: promises
promises: need-root deps-net build ## break every promise of internal/test/mutate, and see its test fail; RUN= chooses some (root)
	@CGO_ENABLED=0 go build -o $(OUT)/mutate ./internal/test/mutate
	@$(call with,plugins multus) $(apart) $(OUT)/mutate -run '$(RUN)'

.PHONY: paths
paths: ## draw the pictures of docs/paths from their snapshots, and the examples of their pages
	@go test ./internal/inspect/path -run '^TestPicturesOf(Docs|Probes)$$' -update

.PHONY: clean
clean: ## remove bin/ and out/; never the cache (that is clean-cache)
	@[ ! -e '$(CLUSTER_DIR)' ] || { echo "make: $(CLUSTER_DIR) is of a cluster: make cluster-down first" >&2; exit 1; }
	rm -rf bin out

.PHONY: clean-cache
clean-cache: ## remove the cached executables of e2e/tools
	@cache="$${PLEXUS_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/plexus}"; \
	for s in $(notdir $(patsubst %/go.mod,%,$(wildcard e2e/tools/*/go.mod))); do rm -rf "$$cache/$$s"-* "$$cache/$$s.lock"; done; \
	rm -rf "$$cache"/ovs-dpdk-* "$$cache"/ovs-dpdk.lock "$$cache"/guest-* "$$cache"/guest*.lock

$(TESTSUM): $(wildcard internal/test/sum/*.go)
	@CGO_ENABLED=0 go build -buildvcs=false -o $@ ./internal/test/sum

.PHONY: need-root
need-root:
	@[ "$$(id -u)" = 0 ] || { echo "make: this target makes network namespaces and needs root: run it again as root" >&2; exit 1; }

# $(call install_debs,PACKAGES): those whose command is not there, as command:package.
define install_debs
missing=; \
for d in $(1); do command -v "$${d%%:*}" >/dev/null || missing+=" $${d#*:}"; done; \
[ -n "$$missing" ] || exit 0; \
echo "make: installing$$missing" >&2; \
[ "$$(id -u)" = 0 ] || { echo "make: installing packages needs root: run this as root, or install them first:$$missing" >&2; exit 1; }; \
command -v apt-get >/dev/null || { echo "make: no apt-get here; install by hand:$$missing" >&2; exit 1; }; \
install() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y install --no-install-recommends $$missing >&2; }; \
install 2>/dev/null || { apt-get -o DPkg::Lock::Timeout=300 -qq update >&2 && install; }
endef

.PHONY: deps-net
deps-net:
	@$(call install_debs,$(NET_DEBS))

# flanneld is built with a C compiler.
.PHONY: deps-cluster
deps-cluster:
	@$(call install_debs,$(CLUSTER_DEBS) $(if $(filter flannel,$(SETS_$(MASTER))),gcc:gcc))
	@[ -z "$(filter flannel,$(SETS_$(MASTER)))" ] || [ -e /usr/include/stdlib.h ] || { $(call install_debs,no-libc:libc6-dev); }

# weaver is built against libpcap, CRI-O against libseccomp, which have no command.
.PHONY: deps-e2e
deps-e2e:
	@$(call install_debs,$(E2E_DEBS))
	@[ -e /usr/include/pcap.h ] || { $(call install_debs,no-pcap:libpcap-dev); }
	@[ -e /usr/include/seccomp.h ] || { $(call install_debs,no-seccomp:libseccomp-dev); }
