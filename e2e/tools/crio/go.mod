module github.com/plexus-cni/plexus/e2e/tools/crio

go 1.24.1

// Not a tool of this module: CRI-O is built in its own, by its own go.sum (e2e/tools/build). After another
// version, run `go mod download -json github.com/cri-o/cri-o@VERSION` and copy the sums; `go mod tidy` would
// remove the line.
require github.com/cri-o/cri-o v1.34.0
