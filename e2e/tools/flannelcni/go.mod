module github.com/plexus-cni/plexus/e2e/tools/flannelcni

go 1.26

tool github.com/containernetworking/plugins/plugins/meta/flannel

require (
	github.com/containernetworking/cni v1.3.0 // lifts the 2021 plugin source to CNI 1.0.0/1.1.0
	github.com/containernetworking/plugins v0.9.1 // last containernetworking/plugins release with plugins/meta/flannel
)

require (
	github.com/vishvananda/netns v0.0.4 // indirect
	golang.org/x/sys v0.23.0 // indirect
)
