package delegate

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/plexus-cni/plexus/types"
)

// A router's advertisement gives an interface a default route at any time. An attachment
// that lost its default route to another takes none of them until it is released. The
// setting also covers the route information for ::/0 (RFC 4191).
const acceptDefaultRouter = "accept_ra_defrtr"

// stopAdvertised makes every attachment but the chosen one take no default route of IPv6 any
// more, if that one gets it.
func (s *session) stopAdvertised(sandbox *sandboxNet, chosen int, results []*current.Result) error {
	attachments := s.record.Plan.Attachments
	if !slices.ContainsFunc(attachments[chosen].Gateways, func(gateway string) bool { return familyOf(net.ParseIP(gateway)) == ipv6 }) {
		return nil
	}
	results = s.inPod(results)
	own := interfacesOf(&attachments[chosen], results[chosen])
	for i := range attachments {
		for _, ifName := range interfacesOf(&attachments[i], results[i]) {
			if slices.Contains(own, ifName) {
				continue
			}
			if err := s.stopAdvertisedOn(sandbox, i, ifName); err != nil {
				return fmt.Errorf("default-route: keep routers from giving another to %s: %w", ifName, err)
			}
		}
	}
	return nil
}

// interfacesOf gives the names of an attachment's interfaces in the pod.
func interfacesOf(a *types.Attachment, result *current.Result) []string {
	names := []string{a.Interface}
	for _, iface := range result.Interfaces {
		if iface != nil && iface.Sandbox != "" && !slices.Contains(names, iface.Name) {
			names = append(names, iface.Name)
		}
	}
	return names
}

// stopAdvertisedOn notes the setting as it is, and then changes it. An interface that is
// not there, or in a VRF, whose routes are its own, loses nothing.
func (s *session) stopAdvertisedOn(sandbox *sandboxNet, i int, ifName string) error {
	link, err := sandbox.routes.LinkByName(ifName)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	if vrf, err := sandbox.vrfOf(link); err != nil || vrf != nil {
		return err
	}
	setting := types.Setting{Interface: ifName, Name: acceptDefaultRouter}
	return sandbox.inside(func() error {
		if setting.Value, err = readSetting(&setting); err != nil || setting.Value == "0" || setting.Value == "" {
			return err
		}
		if err := s.note(types.Entry{Event: types.EventSetting, Attachment: i, Setting: &setting}); err != nil {
			return err
		}
		return os.WriteFile(settingPath(&setting), []byte("0"), 0)
	})
}

// restoreSettings puts back the settings of an attachment that the ADD changed, before its
// DEL: after it, the interface may have another name. Mostly it goes, and an interface that
// goes back to the host gets new settings of the kernel.
func (s *session) restoreSettings(i int, netns string) {
	settings := s.record.Progress[i].Settings
	if len(settings) == 0 || netns == "" {
		return
	}
	sandbox, err := openSandbox(netns)
	if err == nil {
		defer sandbox.close()
		err = sandbox.inside(func() error {
			var faults []error
			for n := range settings {
				faults = append(faults, restoreSetting(&settings[n]))
			}
			return types.Join(faults...)
		})
	}
	if err != nil {
		s.log.Warn("a setting of an interface could not be put back", "interface", settings[0].Interface, "error", err)
	}
}

// restoreSetting leaves alone what somebody else has set since.
func restoreSetting(setting *types.Setting) error {
	if now, err := readSetting(setting); err != nil || now != "0" {
		return err
	}
	return os.WriteFile(settingPath(setting), []byte(setting.Value), 0)
}

// readSetting gives a setting in the network namespace of the thread, "" if the interface
// has none: IPv6 is off.
func readSetting(setting *types.Setting) (string, error) {
	if setting.Interface == "all" || setting.Interface == "default" {
		return "", nil // these are no interfaces to the kernel
	}
	value, err := os.ReadFile(settingPath(setting))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(value)), err
}

func settingPath(setting *types.Setting) string {
	return "/proc/sys/net/ipv6/conf/" + filepath.Base(setting.Interface) + "/" + filepath.Base(setting.Name)
}
