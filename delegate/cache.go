package delegate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/types"
)

// cachedAttachment is the file in which libcni keeps an attachment, and from which it
// gives plugins their prevResult. libcni has no call to correct a result in it.
type cachedAttachment struct {
	Kind           string                     `json:"kind"`
	ContainerID    string                     `json:"containerId"`
	Config         []byte                     `json:"config"`
	IfName         string                     `json:"ifName"`
	NetworkName    string                     `json:"networkName"`
	NetNS          string                     `json:"netns,omitempty"`
	CNIArgs        [][2]string                `json:"cniArgs,omitempty"`
	CapabilityArgs map[string]json.RawMessage `json:"capabilityArgs,omitempty"`
	Result         json.RawMessage            `json:"result,omitempty"`
}

func (s *session) cachePath(a *types.Attachment) string {
	return filepath.Join(s.Config.CNIDir, "results", fmt.Sprintf("%s-%s-%s", a.Name, s.key.ContainerID, a.Interface))
}

// writeCache makes libcni's cache entry of an attachment agree with the record.
func (s *session) writeCache(i int) error {
	a := &s.record.Plan.Attachments[i]
	sandbox := &s.record.Plan.Sandbox
	data, err := json.Marshal(&cachedAttachment{
		Kind:           libcni.CNICacheV1,
		ContainerID:    sandbox.ContainerID,
		Config:         []byte(a.Config),
		IfName:         a.Interface,
		NetworkName:    a.Name,
		NetNS:          sandbox.NetNS,
		CNIArgs:        a.CNIArgs(sandbox),
		CapabilityArgs: a.CapabilityArgs,
		Result:         s.record.Progress[i].Result,
	})
	if err != nil {
		return fmt.Errorf("libcni's cache: %w", err)
	}
	path := s.cachePath(a)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("libcni's cache: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("libcni's cache: %w", err)
	}
	return nil
}

// restoreCache writes libcni's cache anew if it was lost or half-written, so that the plugins get
// their prevResult all the same.
func (s *session) restoreCache(i int) {
	if s.record.Progress[i].Result == nil {
		return
	}
	if data, err := os.ReadFile(s.cachePath(&s.record.Plan.Attachments[i])); err == nil && json.Valid(data) {
		return
	}
	if err := s.writeCache(i); err != nil {
		s.log.Warn("the plugins will get no prevResult", "network", s.record.Plan.Attachments[i].Network, "error", err)
	}
}
