//go:build linux

package collect

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/pki"
	"github.com/plexus-cni/plexus/types"
)

// A range is counted as host-local gives addresses: not the network's, not the one for broadcasts, not the gateway.
func TestDescribeRange(t *testing.T) {
	taken := []inspect.Reservation{{Address: "10.1.0.2"}, {Address: "10.1.0.200"}, {Address: "fd00::2"}}
	for name, tc := range map[string]struct {
		r    addressRange
		want string // "" is a range that cannot be read
	}{
		"a subnet":               {addressRange{Subnet: "10.1.0.0/24"}, "10.1.0.1 10.1.0.254 253 2"},
		"a part":                 {addressRange{Subnet: "10.1.0.0/24", Start: "10.1.0.100", End: "10.1.0.199"}, "10.1.0.100 10.1.0.199 100 0"},
		"a part with its gate":   {addressRange{Subnet: "10.1.0.0/24", Start: "10.1.0.100", End: "10.1.0.200", Gateway: "10.1.0.150"}, "10.1.0.100 10.1.0.200 100 1"},
		"IPv6":                   {addressRange{Subnet: "fd00::/120"}, "fd00::1 fd00::ff 254 1"},
		"IPv6, large":            {addressRange{Subnet: "fd00::/64"}, "fd00::1 fd00::ffff:ffff:ffff:ffff 0 1"},
		"no subnet":              {addressRange{Subnet: "10.1.0.0"}, ""},
		"no address":             {addressRange{Subnet: "10.1.0.0/24", End: "x"}, ""},
		"an end before the star": {addressRange{Subnet: "10.1.0.0/24", Start: "10.1.0.9", End: "10.1.0.8"}, "10.1.0.9 10.1.0.8 0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := describeRange(tc.r, taken)
			if tc.want == "" {
				check.Equal(t, "an error", err != nil, true)
				return
			}
			check.Must(t, err)
			check.Equal(t, "range", fmt.Sprint(got.Start, " ", got.End, " ", got.Size, " ", got.Taken), tc.want)
		})
	}
}

// host-local is found in single configurations and lists, with ranges in both forms.
func TestHostLocalOf(t *testing.T) {
	for config, want := range map[string]string{
		`{"name": "a", "type": "bridge", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}`:                                                             "a [10.1.0.0/24]",
		`{"name": "b", "plugins": [{"type": "tuning"}, {"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}}]}`: "b [10.1.0.0/24 fd00::/64]",
		`{"name": "c", "type": "bridge", "ipam": {"type": "dhcp"}}`:                                                                                            " []",
		`{"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}}`:                                                                          " []",
		`{`: " []",
	} {
		name, ipam := hostLocalOf([]byte(config))
		var subnets []string
		if ipam != nil {
			for _, r := range ipam.all() {
				subnets = append(subnets, r.Subnet)
			}
		}
		check.Equal(t, config, fmt.Sprint(name, " ", subnets), want)
	}
}

// The age and the end of credentials are read, whatever their kind; none of them is in what is read.
func TestCredentials(t *testing.T) {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"exp": 1772600760}`))
	token := "eyJhbGciOiJSUzI1NiJ9." + claims + ".c2lnbmF0dXJl"
	const head = "clusters: [{name: a, cluster: {server: 'https://x'}}]\nusers: [{name: a, user: "
	dir := t.TempDir()
	file, _ := pki.New(t).Issue(t, t.TempDir(), "node")
	certificate, err := os.ReadFile(file)
	check.Must(t, err)
	check.Must(t, os.WriteFile(filepath.Join(dir, "cert.pem"), certificate, 0o600))
	check.Must(t, os.WriteFile(filepath.Join(dir, "token"), []byte(token+"\n"), 0o600))
	for name, tc := range map[string]struct {
		config, kind, fault string
		ends                bool
	}{
		"a token":              {head + "{token: " + token + "}}]", "token", "", true},
		"a token without end":  {head + "{token: sesame}}]", "token", "", false},
		"a token in a file":    {head + "{tokenFile: token}}]", "token in a file", "", true},
		"a token that is gone": {head + "{tokenFile: gone}}]", "token in a file", "no such file", false},
		"a certificate":        {head + "{client-certificate-data: " + base64.StdEncoding.EncodeToString(certificate) + "}}]", "client certificate", "", true},
		"a certificate's file": {head + "{client-certificate: " + filepath.Join(dir, "cert.pem") + "}}]", "client certificate in a file", "", true},
		"a program":            {head + "{exec: {command: aws}}}]", "of another kind", "", false},
		"no user":              {"clusters: []", "", "it names no user", false},
		"no YAML":              {"sesame: [", "", "it is not YAML", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "kubeconfig")
			check.Must(t, os.WriteFile(path, []byte(tc.config), 0o600))
			c := &collector{snapshot: inspect.New()}
			c.snapshot.CNI = &inspect.CNI{}
			c.readCredentials(path)
			got := c.snapshot.CNI.Credentials
			check.Equal(t, "kind", got.Kind, tc.kind)
			check.Equal(t, "it ends", !got.Expires.IsZero(), tc.ends)
			check.Equal(t, "fault", strings.Contains(got.Fault, tc.fault) && (got.Fault == "") == (tc.fault == ""), true)
			check.Equal(t, "age", time.Since(got.Modified) < time.Hour, true)
			data, err := c.snapshot.Bytes()
			check.Must(t, err)
			for _, secret := range []string{"sesame", "c2lnbmF0dXJl", claims, "CERTIFICATE-----"} {
				check.Equal(t, "has "+secret, strings.Contains(string(data), secret), false)
			}
		})
	}
}

// An executable is described without being run.
func TestDescribeExecutable(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"script": 0o755, "text": 0o644} {
		check.Must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\ntouch "+dir+"/ran\n"), mode))
	}
	check.Must(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o755))
	check.Must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	check.Must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	c := &collector{snapshot: inspect.New(), options: Options{CNIPath: []string{dir}}}
	c.snapshot.CNI = &inspect.CNI{BinDir: filepath.Join(dir, "gone")}
	c.readExecutables()
	got := []string{}
	for _, e := range c.snapshot.CNI.Executables {
		got = append(got, strings.TrimSpace(e.Name+" "+e.Fault))
	}
	check.Equal(t, "executables", got, []string{"dangling it is a link to nothing", "empty it is empty", "script", "text it is not executable"})
	_, err := os.Stat(filepath.Join(dir, "ran"))
	check.Equal(t, "nothing was run", os.IsNotExist(err), true)
	check.Equal(t, "notes", len(c.snapshot.Notes), 0)
}

// Configurations are read only with their secrets masked, and only if they were asked for.
func TestConfigurationsAreMasked(t *testing.T) {
	dir := t.TempDir()
	check.Must(t, os.WriteFile(filepath.Join(dir, "10-a.conf"), []byte(`{"cniVersion": "1.0.0", "name": "a", "type": "vpn", "psk": "sesame"}`), 0o600))
	check.Must(t, os.WriteFile(filepath.Join(dir, "10-a.conf.cilium_bak"), []byte(`{"cniVersion": "1.0.0", "name": "p", "plugins": [{"type": "plexus", "apiToken": "sesame"}]}`), 0o600))
	for _, with := range []bool{false, true} {
		c := &collector{snapshot: inspect.New(), options: Options{ConfDir: dir, StateDir: filepath.Join(dir, "state"), WithConfig: with}}
		c.readCNI()
		data, err := c.snapshot.Bytes()
		check.Must(t, err)
		check.Equal(t, "secrets", strings.Contains(string(data), "sesame"), false)
		check.Equal(t, "configurations", strings.Contains(string(data), `"psk": "***"`), with)
		files := c.snapshot.CNI.Files
		check.Equal(t, "files", len(files), 2)
		check.Equal(t, "what no runtime reads", files[1].Ignored && files[1].Owner == "plexus" && !files[0].Ignored, true)
	}
}

// Plexus's own configuration is followed to the default network, wherever that is.
func TestReadDefault(t *testing.T) {
	dir := t.TempDir()
	check.Must(t, os.WriteFile(filepath.Join(dir, "net.conf"), []byte(`{"name": "a", "type": "bridge", "cniVersion": "1.0.0", "ipam": {"type": "host-local"}}`), 0o600))
	check.Must(t, os.WriteFile(filepath.Join(dir, "self.conf"), []byte(`{"name": "a", "type": "plexus", "cniVersion": "1.0.0", "clusterNetwork": "/x"}`), 0o600))
	for name, tc := range map[string]struct{ keys, plugins, owner, fault string }{
		"a file":            {`"clusterNetwork": "` + dir + `/net.conf"`, "[bridge host-local]", "", ""},
		"a delegate":        {`"delegates": [{"name": "d", "cniVersion": "1.0.0", "type": "ptp"}]`, "[ptp]", "", ""},
		"itself":            {`"clusterNetwork": "` + dir + `/self.conf"`, "[plexus]", "plexus", ""},
		"itself, delegated": {`"delegates": [{"name": "d", "cniVersion": "1.0.0", "plugins": [{"type": "multus-shim"}]}]`, "[multus-shim]", "multus", ""},
		"nothing":           {`"clusterNetwork": "` + dir + `/gone.conf"`, "[]", "", "no such file"},
		"of the cluster":    {`"clusterNetwork": "kube-system/net"`, "[]", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			config, _, err := types.ParseConfig([]byte(`{"cniVersion": "1.0.0", "name": "p", "type": "plexus", ` + tc.keys + `}`))
			check.Must(t, err)
			var got inspect.PlexusConf
			(&collector{}).readDefault(&got, config)
			check.Equal(t, "plugins", fmt.Sprint(got.Default), tc.plugins)
			check.Equal(t, "owner", got.DefaultOwner, tc.owner)
			check.Equal(t, "fault", strings.Contains(got.DefaultFault, tc.fault) && (got.DefaultFault == "") == (tc.fault == ""), true)
		})
	}
}
