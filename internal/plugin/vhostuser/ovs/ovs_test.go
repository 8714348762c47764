package ovs

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/plexus-cni/plexus/internal/plugin/vhostuser"
)

// The real Open vSwitch is in e2e/vhostuser; here is what it would not say.

func TestRow(t *testing.T) {
	var parsed ovsdb.Row
	const text = `{"name": "p", "tag": 7, "none": ["set", []], "trunks": ["set", [30, 5]], "up": true, "ids": ["map", [["k", "v"]]],
		"ports": ["set", [["uuid", "00000000-0000-0000-0000-000000000001"], ["uuid", "00000000-0000-0000-0000-000000000002"]]],
		"interfaces": ["uuid", "00000000-0000-0000-0000-000000000003"]}`
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatal(err)
	}
	r := row(parsed)
	got := []any{
		r.text("name"), r.int("tag"), r.text("none"), r.int("none"), r.ints("trunks"), r.ints("tag"), r.bool("up"), r.pairs("ids"), r.uuids("ports"),
		r.uuid("interfaces"), r.texts("name"), r.text("absent"), r.int("name"), r.text("tag"), r.pairs("name"), r.uuid("name"),
	}
	want := []any{
		"p", 7, "", 0,
		[]int{5, 30},
		[]int{7},
		true,
		map[string]string{"k": "v"},
		[]string{"00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"},
		"00000000-0000-0000-0000-000000000003",
		[]string{"p"},
		"", 0, "",
		map[string]string{},
		"",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if empty := (answers{}).first(3); empty.text("name") != "" {
		t.Errorf("a row of no answer: %v", empty)
	}
}

func TestFault(t *testing.T) {
	for name, tc := range map[string]struct {
		row  row
		well bool
	}{
		"served":     {row{"ofport": 1.0}, true},
		"error":      {row{"error": "could not open", "ofport": -1.0}, false},
		"refused":    {row{"ofport": -1.0}, false},
		"not yet":    {row{}, false},
		"other type": {row{"ofport": "1"}, false},
	} {
		if err := fault(tc.row); (err == nil) != tc.well {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestPortRow(t *testing.T) {
	for name, tc := range map[string]struct {
		port vhostuser.Port
		want map[string]any // besides name, interfaces and external_ids
	}{
		"untagged":        {vhostuser.Port{}, map[string]any{}},
		"of one VLAN":     {vhostuser.Port{VLAN: 7}, map[string]any{"tag": 7.0}},
		"trunk":           {vhostuser.Port{Trunks: []int{5, 6}}, map[string]any{"trunks": []any{"set", []any{5.0, 6.0}}}},
		"trunk with both": {vhostuser.Port{VLAN: 7, Trunks: []int{5}}, map[string]any{"tag": 7.0, "trunks": 5.0, "vlan_mode": "native-untagged"}},
	} {
		data, err := json.Marshal(portRow(&tc.port, ovsdb.UUID{GoUUID: "i"}, ownerMap(&tc.port.Owner)))
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"name", "interfaces", "external_ids"} {
			delete(got, key)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A database that takes connections and says nothing is as one that is not there.
func TestOpenHasADeadline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, address := range []string{"unix:" + path, "unix:" + path + ".none"} {
		if _, err := Open(ctx, address); !errors.Is(err, vhostuser.ErrUnreachable) {
			t.Errorf("%s: got %v", address, err)
		}
	}
}
