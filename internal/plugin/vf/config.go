package vf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"

	cnitypes "github.com/containernetworking/cni/pkg/types"

	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// DefaultStateDir is where the states of VFs are kept.
const DefaultStateDir = "/var/lib/cni/plexus-sriov"

// Config is the configuration of one network, with the keys of sriov-cni and two of our
// own: stateDir and master.
type Config struct {
	CNIVersion string
	Name       string
	DeviceID   string // runtimeConfig.deviceID, else deviceID
	Master     string // interface of a PF that STATUS looks for; nothing else reads it
	StateDir   string

	Want Settings
	IPAM string // ipam.type, empty for none

	DeviceInfoFile string // runtimeConfig.CNIDeviceInfoFile
	LogLevel       string
	LogFile        string

	// ValidAttachments is what GC leaves alone; without a list it frees nothing.
	ValidAttachments    []types.GCAttachment
	HasValidAttachments bool
	PrevResult          json.RawMessage

	DNS cnitypes.DNS // wins over what the IPAM plugin says

	Unknown []string // keys that mean nothing here, as types.UnknownKey names them

	raw []byte // as it came: what the IPAM plugin gets
}

// Settings is what a configuration asks of a VF. What it does not mention is nil or
// empty, and stays as it is.
type Settings struct {
	MAC       string  `json:"mac,omitempty"`
	VLAN      *int    `json:"vlan,omitempty"`
	QoS       *int    `json:"vlanQoS,omitempty"`
	VLANProto string  `json:"vlanProto,omitempty"`
	SpoofChk  *bool   `json:"spoofchk,omitempty"`
	Trust     *bool   `json:"trust,omitempty"`
	MinTxRate *uint32 `json:"min_tx_rate,omitempty"`
	MaxTxRate *uint32 `json:"max_tx_rate,omitempty"`
	LinkState string  `json:"link_state,omitempty"`
	GUID      string  `json:"infinibandGUID,omitempty"`
}

// Any reports whether anything is asked for.
func (s *Settings) Any() bool { return *s != Settings{} }

// wire is the configuration as JSON has it.
type wire struct {
	CNIVersion string          `json:"cniVersion"`
	Name       string          `json:"name"`
	DeviceID   string          `json:"deviceID"`
	Master     string          `json:"master"`
	StateDir   string          `json:"stateDir"`
	MAC        string          `json:"mac"`
	VLAN       *int            `json:"vlan"`
	QoS        *int            `json:"vlanQoS"`
	VLANProto  *string         `json:"vlanProto"`
	SpoofChk   string          `json:"spoofchk"`
	Trust      string          `json:"trust"`
	MinTxRate  *int64          `json:"min_tx_rate"`
	MaxTxRate  *int64          `json:"max_tx_rate"`
	LinkState  string          `json:"link_state"`
	GUID       string          `json:"infinibandGUID"`
	LogLevel   string          `json:"logLevel"`
	LogFile    string          `json:"logFile"`
	IPAM       json.RawMessage `json:"ipam"`
	Runtime    struct {
		DeviceID       string `json:"deviceID"`
		MAC            string `json:"mac"`
		GUID           string `json:"infinibandGUID"`
		DeviceInfoFile string `json:"CNIDeviceInfoFile"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			MAC string `json:"mac"`
		} `json:"cni"`
	} `json:"args"`
	Valid      *[]types.GCAttachment `json:"cni.dev/valid-attachments"`
	PrevResult json.RawMessage       `json:"prevResult"`
	DNS        cnitypes.DNS          `json:"dns"`
}

// fields is how each part of a configuration is read, by its key: one of a wrong type
// does not hide the faults of the others.
func (w *wire) fields() map[string]any {
	return map[string]any{
		"cniVersion": &w.CNIVersion, "name": &w.Name, "deviceID": &w.DeviceID, "master": &w.Master, "stateDir": &w.StateDir,
		"mac": &w.MAC, "vlan": &w.VLAN, "vlanQoS": &w.QoS, "vlanProto": &w.VLANProto, "spoofchk": &w.SpoofChk, "trust": &w.Trust,
		"min_tx_rate": &w.MinTxRate, "max_tx_rate": &w.MaxTxRate, "link_state": &w.LinkState, "infinibandGUID": &w.GUID,
		"logLevel": &w.LogLevel, "logFile": &w.LogFile, "ipam": &w.IPAM, "runtimeConfig": &w.Runtime, "args": &w.Args,
		validKey: &w.Valid, "prevResult": &w.PrevResult, "dns": &w.DNS,
	}
}

// validKey is of the attachments that a GC lists as still in use.
const validKey = "cni.dev/valid-attachments"

// ParseConfig reads a configuration and CNI_ARGS. Every fault is reported, by its field.
func ParseConfig(data []byte, cniArgs string) (*Config, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil || raw == nil {
		return nil, &types.FieldError{Problem: "the configuration is not a JSON object"}
	}
	p := &parser{}
	fields := p.w.fields()
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		value, ok := lookUp(raw, key)
		isNull := bytes.Equal(value, []byte("null"))
		if ok && isNull && key == validKey {
			p.w.Valid = &[]types.GCAttachment{} // libcni writes an empty list so
		}
		if !ok || isNull {
			continue
		}
		if err := json.Unmarshal(value, fields[key]); err != nil {
			p.fault(key, "has a value of the wrong type: %s", typeProblem(err))
		}
	}
	c := p.config(cniArgs)
	c.raw, c.Unknown = data, unknownKeys(raw, slices.Collect(maps.Keys(fields)))
	return c, types.Join(p.faults...)
}

// standardKeys mean nothing to this plugin: the specification allows them in any configuration, and
// Multus and Plexus put pciBusID beside deviceID for host-device.
var standardKeys = []string{"type", "capabilities", "cniVersions", "disableCheck", "disableGC", "cni.dev/attachments", "pciBusID"}

// unknownKeys names the keys that nobody reads, sorted.
func unknownKeys(raw map[string]json.RawMessage, known []string) []string {
	var unknown []string
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		same := func(k string) bool { return strings.EqualFold(k, key) }
		if !slices.ContainsFunc(known, same) && !slices.ContainsFunc(standardKeys, same) {
			unknown = append(unknown, types.UnknownKey(key, known))
		}
	}
	return unknown
}

// lookUp finds a key as encoding/json does, which sriov-cni leaves it to: written the
// same, else the same but for its case.
func lookUp(raw map[string]json.RawMessage, key string) (json.RawMessage, bool) {
	if value, ok := raw[key]; ok {
		return value, true
	}
	for _, other := range slices.Sorted(maps.Keys(raw)) {
		if strings.EqualFold(other, key) {
			return raw[other], true
		}
	}
	return nil, false
}

// typeProblem says what was expected, without the value, which may be long.
func typeProblem(err error) string {
	var typeErr *json.UnmarshalTypeError
	if !errors.As(err, &typeErr) {
		return err.Error()
	}
	where := ""
	if typeErr.Field != "" {
		where = " at " + typeErr.Field
	}
	return fmt.Sprintf("want %s, got a JSON %.40s%s", typeErr.Type, typeErr.Value, where)
}

// parser is a configuration being read.
type parser struct {
	w      wire
	faults []error
}

func (p *parser) fault(field, format string, args ...any) {
	p.faults = append(p.faults, &types.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

func (p *parser) config(cniArgs string) *Config {
	w := &p.w
	c := &Config{
		CNIVersion: w.CNIVersion, Name: w.Name, Master: w.Master, StateDir: w.StateDir, DeviceInfoFile: w.Runtime.DeviceInfoFile,
		LogLevel: w.LogLevel, LogFile: w.LogFile, PrevResult: w.PrevResult, DeviceID: w.DeviceID, DNS: w.DNS,
	}
	if w.Runtime.DeviceID != "" {
		c.DeviceID = w.Runtime.DeviceID
	}
	if c.StateDir == "" {
		c.StateDir = DefaultStateDir
	}
	if w.Valid != nil {
		c.ValidAttachments, c.HasValidAttachments = *w.Valid, true
	}
	p.absolute("stateDir", c.StateDir)
	p.absolute("logFile", c.LogFile)
	p.absolute("runtimeConfig.CNIDeviceInfoFile", c.DeviceInfoFile)
	p.oneOf("logLevel", c.LogLevel, "panic", "error", "warning", "info", "debug")
	c.IPAM = p.ipam()
	c.Want = p.settings(cniArgs)
	return c
}

func (p *parser) absolute(field, path string) {
	if path != "" && !filepath.IsAbs(path) {
		p.fault(field, "%.100q is not an absolute path", path)
	}
}

func (p *parser) oneOf(field, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		p.fault(field, "%.60q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

func (p *parser) ipam() string {
	var ipam struct {
		Type string `json:"type"`
	}
	if len(p.w.IPAM) == 0 {
		return ""
	}
	if err := json.Unmarshal(p.w.IPAM, &ipam); err != nil {
		p.fault("ipam", "has a value of the wrong type: %s", typeProblem(err))
	}
	if strings.ContainsRune(ipam.Type, filepath.Separator) {
		p.fault("ipam.type", "%.60q is not the plain name of a plugin", ipam.Type)
	}
	return ipam.Type
}

func (p *parser) settings(cniArgs string) Settings {
	w := &p.w
	s := Settings{VLAN: w.VLAN, QoS: w.QoS, LinkState: w.LinkState}
	p.oneOf("link_state", w.LinkState, "auto", "enable", "disable")
	s.SpoofChk = p.onOff("spoofchk", w.SpoofChk)
	s.Trust = p.onOff("trust", w.Trust)
	s.MinTxRate = p.rate("min_tx_rate", w.MinTxRate)
	s.MaxTxRate = p.rate("max_tx_rate", w.MaxTxRate)
	if s.MinTxRate != nil && s.MaxTxRate != nil && *s.MaxTxRate > 0 && *s.MinTxRate > *s.MaxTxRate {
		p.fault("min_tx_rate", "%d is more than max_tx_rate, %d", *s.MinTxRate, *s.MaxTxRate)
	}
	p.vlan(&s)
	s.MAC = p.mac(cniArgs)
	s.GUID = p.guid()
	return s
}

// vlan checks what belongs to a VLAN, which means nothing without one.
func (p *parser) vlan(s *Settings) {
	tagged := s.VLAN != nil && *s.VLAN > 0
	if s.VLAN != nil && (*s.VLAN < 0 || *s.VLAN > 4094) {
		p.fault("vlan", "%d is not within 0 (none) to 4094", *s.VLAN)
	}
	if s.QoS != nil && (*s.QoS < 0 || *s.QoS > 7) {
		p.fault("vlanQoS", "%d is not within 0 to 7", *s.QoS)
	}
	if s.QoS != nil && *s.QoS != 0 && !tagged {
		p.fault("vlanQoS", "needs a vlan other than 0")
	}
	if p.w.VLANProto == nil || *p.w.VLANProto == "" {
		return
	}
	s.VLANProto = strings.ToLower(*p.w.VLANProto)
	p.oneOf("vlanProto", s.VLANProto, sriov.Proto8021Q, sriov.Proto8021AD)
	if s.VLANProto == sriov.Proto8021AD && !tagged {
		p.fault("vlanProto", "needs a vlan other than 0")
	}
}

func (p *parser) onOff(field, value string) *bool {
	p.oneOf(field, value, "on", "off")
	if value == "" {
		return nil
	}
	on := value == "on"
	return &on
}

func (p *parser) rate(field string, value *int64) *uint32 {
	if value == nil {
		return nil
	}
	if *value < 0 || *value > 1<<31-1 {
		p.fault(field, "%d is not a rate in Mbit/s: 0 (no limit) or more", *value)
		return nil
	}
	rate := uint32(*value)
	return &rate
}

// mac takes the MAC from the most particular of the places that may name it.
func (p *parser) mac(cniArgs string) string {
	fromArgs := ""
	args, err := types.ParseArgs(cniArgs)
	if err != nil {
		p.faults = append(p.faults, err)
	}
	for _, arg := range args {
		if arg[0] == "MAC" {
			fromArgs = arg[1]
		}
	}
	for _, place := range [][2]string{
		{"runtimeConfig.mac", p.w.Runtime.MAC}, {"CNI_ARGS: MAC", fromArgs}, {"args.cni.mac", p.w.Args.CNI.MAC}, {"mac", p.w.MAC},
	} {
		if place[1] == "" {
			continue
		}
		address, err := net.ParseMAC(place[1])
		if err != nil || len(address) != 6 {
			p.fault(place[0], "%.60q is not a MAC address", place[1])
			return ""
		}
		if address[0]&1 != 0 || bytes.Equal(address, make([]byte, 6)) {
			p.fault(place[0], "%s is not the address of one interface: it is a group's, or zero", address)
			return ""
		}
		return address.String()
	}
	return ""
}

func (p *parser) guid() string {
	field, value := "runtimeConfig.infinibandGUID", p.w.Runtime.GUID
	if value == "" {
		field, value = "infinibandGUID", p.w.GUID
	}
	if value == "" {
		return ""
	}
	guid, err := net.ParseMAC(value)
	if err != nil || len(guid) != 8 || bytes.Equal(guid, make([]byte, 8)) || bytes.Equal(guid, bytes.Repeat([]byte{0xff}, 8)) {
		p.fault(field, "%.60q is not an Infiniband GUID, as 00:11:22:33:44:55:66:77", value)
		return ""
	}
	return guid.String()
}

// checkForAdd reports what an ADD needs and other verbs do not.
func (c *Config) checkForAdd() error {
	var faults []error
	if c.DeviceID == "" {
		faults = append(faults, &types.FieldError{Field: "deviceID", Problem: "is missing: the network needs the annotation k8s.v1.cni.cncf.io/resourceName, or a device by name"})
	}
	if c.Name == "" {
		faults = append(faults, &types.FieldError{Field: "name", Problem: "is missing"})
	}
	return types.Join(faults...)
}
