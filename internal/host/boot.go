package host

import (
	"fmt"
	"os"
	"strings"
)

// BootID gives the kernel's number of this boot. What was recorded under another number
// belongs to sandboxes that a reboot has ended.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot ID: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
