module github.com/plexus-cni/plexus/e2e/tools/weave

go 1.26.0

tool (
	github.com/weaveworks/weave/prog/weaver
	github.com/weaveworks/weave/prog/weaveutil
)

require (
	github.com/andybalholm/go-bit v1.0.1
	github.com/aws/aws-sdk-go v1.34.0
	github.com/boltdb/bolt v1.3.1
	github.com/containernetworking/cni v0.5.2
	github.com/coreos/go-iptables v0.3.0
	github.com/docker/distribution v2.7.1+incompatible
	github.com/docker/docker v0.0.0-20180422163414-57142e89befe
	github.com/docker/go-connections v0.3.0
	github.com/docker/go-units v0.3.3
	github.com/docker/libnetwork v0.8.0-dev.2.0.20180212220201-119badbd737b
	github.com/fsouza/go-dockerclient v1.2.0
	github.com/google/gopacket v1.1.16
	github.com/googleapis/gnostic v0.1.0
	github.com/gorilla/mux v1.8.0
	github.com/j-keck/arping v0.0.0-20160618110441-2cf9dc699c56
	github.com/mdlayher/raw v0.0.0-20181016155347-fa5ef3332ca9
	github.com/miekg/dns v1.0.4
	github.com/opencontainers/image-spec v1.0.1
	github.com/opencontainers/runc v0.1.1
	github.com/pkg/errors v0.9.1
	github.com/pkg/profile v1.2.1
	github.com/prometheus/client_golang v0.8.0
	github.com/prometheus/client_model v0.0.0-20171117100541-99fa1f4be8e5
	github.com/prometheus/common v0.0.0-20180110214958-89604d197083
	github.com/sirupsen/logrus v1.9.3
	github.com/vishvananda/netlink v1.0.0
	github.com/vishvananda/netns v0.0.0-20210104183010-2eb08e3e575f
	github.com/weaveworks/common v0.0.0-20180321110636-ebab3a78900a
	github.com/weaveworks/go-checkpoint v0.0.0-20170503165305-ebbb8b0518ab
	github.com/weaveworks/go-odp v0.0.0-20181017121109-6b0aa22550d9
	github.com/weaveworks/mesh v0.0.0-20191105120815-58dbcc3e8e63
	github.com/weaveworks/weave v2.6.5+incompatible
	golang.org/x/crypto v0.31.0
	golang.org/x/sys v0.49.0
	k8s.io/api v0.0.0-20180628040859-072894a440bd
	k8s.io/apimachinery v0.0.0-20180621070125-103fd098999d
	k8s.io/client-go v8.0.0+incompatible
)

require (
	github.com/Nvveen/Gotty v0.0.0-20120604004816-cd527374f1e5 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/containerd/continuity v0.5.0 // indirect
	github.com/ghodss/yaml v1.0.0 // indirect
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/golang/glog v1.2.5 // indirect
	github.com/golang/protobuf v1.5.4 // indirect
	github.com/google/btree v1.1.3 // indirect
	github.com/google/gofuzz v1.2.0 // indirect
	github.com/google/uuid v1.0.0 // indirect
	github.com/gregjones/httpcache v0.0.0-20190611155906-901d90724c79 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/hashicorp/golang-lru v1.0.2 // indirect
	github.com/jmespath/go-jmespath v0.3.0 // indirect
	github.com/json-iterator/go v1.1.12 // indirect
	github.com/matttproud/golang_protobuf_extensions v1.0.4 // indirect
	github.com/modern-go/concurrent v0.0.0-20180228061459-e0a39a4cb421 // indirect
	github.com/modern-go/reflect2 v1.0.2 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/pborman/uuid v1.2.1 // indirect
	github.com/peterbourgon/diskv v2.0.1+incompatible // indirect
	github.com/prometheus/procfs v0.23.0 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	golang.org/x/net v0.21.0 // indirect
	golang.org/x/term v0.27.0 // indirect
	golang.org/x/text v0.21.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	google.golang.org/protobuf v1.35.1 // indirect
	gopkg.in/inf.v0 v0.9.1 // indirect
	gopkg.in/yaml.v2 v2.2.2 // indirect
)
