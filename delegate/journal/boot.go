package journal

import (
	"fmt"
	"os"
	"strings"
)

// BootID gives the number of this boot of the machine, by which a record tells whether
// its sandbox can still be there.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot ID: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
