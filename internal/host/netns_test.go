package host

import "testing"

func TestNetNSIDMayBe(t *testing.T) {
	id := NetNSID{Inode: 7, Changed: 8, Cookie: 9}
	for name, tc := range map[string]struct {
		other NetNSID
		want  bool
	}{
		"the same":                    {id, true},
		"its file was made anew":      {NetNSID{7, 10, 9}, true},
		"of an older record":          {NetNSID{Inode: 7}, true},
		"not known":                   {NetNSID{}, true},
		"the next with its inode":     {NetNSID{7, 10, 11}, false},
		"another inode":               {NetNSID{Inode: 6}, false},
		"another inode, by the clock": {NetNSID{6, 8, 9}, false},
	} {
		if id.MayBe(tc.other) != tc.want || tc.other.MayBe(id) != tc.want {
			t.Errorf("%s: want %v", name, tc.want)
		}
	}
}
