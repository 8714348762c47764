package host

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
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

// SinceBoot gives the nanoseconds since the boot, with those of sleep: no change of the
// clock moves it. It is 0 if the kernel does not say.
func SinceBoot() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return now.Nano()
}
