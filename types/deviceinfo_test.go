package types

import (
	"strings"
	"testing"
)

func TestDeviceInfoName(t *testing.T) {
	long := strings.Repeat("n", 250)
	for name, tc := range map[string]struct{ network, want string }{
		"short":             {"default/lan", "default-lan-c1_net0"},
		"as long as can be": {strings.Repeat("n", 247), strings.Repeat("n", 247) + "-c1_net0"},
		"too long":          {long, long[:238] + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			got := DeviceInfoName(tc.network, "c1", "net0")
			if !strings.HasPrefix(got, tc.want) || len(got) > 255 {
				t.Errorf("%d bytes: %s", len(got), got)
			}
		})
	}
	if DeviceInfoName(long, "c1", "net0") == DeviceInfoName(long, "c1", "net1") {
		t.Error("two attachments have one name")
	}
}
