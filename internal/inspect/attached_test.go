package inspect

import (
	"bytes"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func everything(*Attached) bool { return true }

// Each state has a case, and what is close to it.
func TestStates(t *testing.T) {
	for name, tc := range map[string]struct {
		breakIt func(*Snapshot)
		state   State // of net0 of pod a
		why     string
		wrong   bool
	}{
		"healthy":                     {func(*Snapshot) {}, StateOK, "", false},
		"status not written":          {func(s *Snapshot) { s.Records[0].Published = false }, StateUnpublished, "status", false},
		"status that an agent writes": {func(s *Snapshot) { s.Records[0].Published, s.Agent = false, true }, StateOK, "", false},
		"the interface went, beside an agent": {func(s *Snapshot) {
			s.Records[0].Published, s.Agent = false, true
			s.at(podA, "net0").Name = "net9"
		}, StateGone, "net0 is not in the sandbox", true},
		"the interface went": {func(s *Snapshot) { s.at(podA, "net0").Name = "net9" }, StateGone, "net0 is not in the sandbox", true},
		"a VF that a program drives": {func(s *Snapshot) {
			s.at(podA, "net0").Name = "net9"
			s.Records[0].Attachments[1].DeviceID = "0000:01:00.1"
		}, StateOK, "", false},
		"an address went": {func(s *Snapshot) { s.at(podA, "net0").Addresses = nil }, StateChanged, "net0 lacks 10.2.0.2/16", true},
		"an address more": {func(s *Snapshot) {
			s.at(podA, "net0").Addresses = append(s.at(podA, "net0").Addresses, Address{"10.9.0.1/16", "global"})
		}, StateOK, "", false},
		"another MAC": {func(s *Snapshot) { s.Records[0].Attachments[1].Interfaces[0].MAC = "02:00:00:00:00:aa" }, StateChanged, "has MAC", true},
		"the same MAC in capitals": {func(s *Snapshot) {
			s.Records[0].Attachments[1].Interfaces[0].MAC = strings.ToUpper(s.at(podA, "net0").MAC)
		}, StateOK, "", false},
		"an ADD that was cut short":   {func(s *Snapshot) { s.Records[0].Complete = false }, StateUnfinished, "ADD", true},
		"the sandbox went":            {func(s *Snapshot) { s.Records[0].Live = false }, StateDead, "its sandbox is gone", true},
		"the namespace is not seen":   {func(s *Snapshot) { s.Records[0].Inode = 999 }, StateGone, "/run/netns/a cannot be seen", true},
		"another sandbox's interface": {func(s *Snapshot) { s.at(podB, "net0").Name = "net9"; s.Records = s.Records[:1] }, StateOK, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			for i := range s.Records {
				s.Records[i].Published = true
			}
			tc.breakIt(s)
			list := NewAttachedList(s, func(a *Attached) bool { return a.Pod == "default/a" && a.Interface == "net0" })
			check.Equal(t, "attachments", len(list.Items), 1)
			check.Equal(t, "state", list.Items[0].State, tc.state)
			check.Contains(t, "why", list.Items[0].Why, tc.why)
			check.Equal(t, "wrong", list.Wrong(), tc.wrong)
		})
	}
}

func TestAttachedList(t *testing.T) {
	s := healthy()
	s.Records[0], s.Records[1] = s.Records[1], s.Records[0] // the list is by pod all the same
	for i := range s.Records {
		s.Records[i].Published = true
	}
	var text bytes.Buffer
	check.Must(t, new(AttachedTable).Write(&text, NewAttachedList(s, everything)))
	want := `POD        INTERFACE  NETWORK      ADDRESSES    HOST SIDE      STATE
default/a  eth0       cbr0         10.1.0.2/16  veth5 on cbr0  ok
default/a  net0       default/mac  10.2.0.2/16  up0            ok
default/b  eth0       cbr0         10.1.0.3/16  veth6 on cbr0  ok
default/b  net0       default/mac  10.2.0.3/16  up0            ok
`
	check.Equal(t, "text", text.String(), want)
	text.Reset()
	check.Must(t, (&AttachedTable{Wide: true}).Write(&text, NewAttachedList(s, func(*Attached) bool { return false })))
	check.Equal(t, "text of nothing", text.String(), "The journal of this node has no such attachment.\n")
}
