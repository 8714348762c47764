package plan

import (
	"fmt"

	"github.com/plexus-cni/plexus/types"
)

// maxFileName is Linux's NAME_MAX. The package links no golang.org/x/sys.
const maxFileName = 255

// checkCacheName refuses a network whose file in libcni's cache cannot be made: libcni
// finds out only after the plugins ran.
func (b *builder) checkCacheName(a *types.Attachment) error {
	return checkFileName("name", a.Name, "libcni's cache", a.Name+"-"+b.sandbox.ContainerID+"-"+a.Interface)
}

// checkRecordName does the same for the journal, whose file has the name of Plexus's own
// configuration.
func (b *builder) checkRecordName() error {
	name := b.Config.Name
	return checkFileName("configuration of plexus: name", name, "the journal", b.sandbox.ContainerID+"@"+name+"@"+b.sandbox.IfName+".jsonl.new")
}

// checkFileName refuses a name of a network that makes the name of a file too long.
func checkFileName(field, name, of, file string) error {
	excess := len(file) - maxFileName
	if excess <= 0 {
		return nil
	}
	return &types.FieldError{Field: field, Problem: fmt.Sprintf(
		"%q has %d bytes, of which %d are too many: with the container ID and the interface it names a file of %s, whose name has at most %d",
		name, len(name), excess, of, maxFileName)}
}
