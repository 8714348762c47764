package inspect

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// A part has of a node what concerns its pods, and says of them what the whole says.
func TestPart(t *testing.T) {
	whole := healthy()
	whole.at(podA, "eth0").MTU = 9000
	whole.Records = append(whole.Records, Record{Sandbox: Sandbox{ContainerID: "gone"}, Inode: podA, Attachments: []Attachment{}})
	whole.Answers = []Answer{{Question: Question{Namespace: podA}}, {Question: Question{Namespace: podB}}}
	part := whole.Part(podA)
	var inodes []uint64
	for _, ns := range part.Namespaces {
		inodes = append(inodes, ns.Inode)
	}
	check.Equal(t, "namespaces", inodes, []uint64{hostNS, podA})
	check.Equal(t, "records", len(part.Records), 1)
	check.Equal(t, "answers", len(part.Answers), 1)
	check.Equal(t, "findings", FindingsOf(Findings(part), part, podA), FindingsOf(Findings(whole), whole, podA))
	check.Equal(t, "namespaces of the whole", len(whole.Namespaces), 3)

	whole.at(podA, "net0").Link = &Ref{podB, 2} // a child of an interface of another pod
	check.Equal(t, "namespaces with that of the parent", len(whole.Part(podA).Namespaces), 3)
	check.Equal(t, "of two pods", len(healthy().Part(podA, podB).Namespaces), 3)
	check.Equal(t, "of a namespace that is not there", len(healthy().Part(999).Namespaces), 1)
}
