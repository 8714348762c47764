// Package ovs drives Open vSwitch with DPDK through its database, for package vhostuser.
package ovs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/plexus-cni/plexus/internal/plugin/vhostuser"
)

// Tables and what of them this package uses.
const (
	tableRoot      = "Open_vSwitch"
	tableBridge    = "Bridge"
	tablePort      = "Port"
	tableInterface = "Interface"

	portType    = "dpdkvhostuserclient"
	optSocket   = "vhost-server-path"
	optQueues   = "n_rxq"
	modeNative  = "native-untagged"
	typeNetdev  = "netdev"
	ownerKey    = "plexus-owner"
	ownerValue  = "plexus-vhostuser"
	keyNetwork  = "plexus-network"
	keySandbox  = "plexus-container"
	keyIfName   = "plexus-interface"
	keyPod      = "plexus-pod"
	columnUUID  = "_uuid"
	columnName  = "name"
	columnPorts = "ports"
)

// Switch is an Open vSwitch, reached by the socket of its database.
type Switch struct{ db database }

// Open reaches the database at an address, as "unix:/var/run/openvswitch/db.sock".
func Open(ctx context.Context, address string) (vhostuser.Switch, error) {
	db, err := dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("Open vSwitch at %s: %w: %w", address, vhostuser.ErrUnreachable, cause(err))
	}
	return &Switch{db}, nil
}

// Close ends the connection.
func (s *Switch) Close() { s.db.close() }

// Ready reports why the bridge could not take a port now. That ovs-vswitchd has died, its
// database does not tell.
func (s *Switch) Ready(ctx context.Context, bridge string) error {
	_, err := s.bridge(ctx, bridge)
	return err
}

// bridge gives the row of a bridge that can take ports of ours.
func (s *Switch) bridge(ctx context.Context, name string) (row, error) {
	answers, err := s.db.transact(ctx,
		selectAll(tableRoot, "dpdk_initialized", "iface_types"),
		selectWhere(tableBridge, equals(columnName, name), columnUUID, "datapath_type"),
	)
	if err != nil {
		return row{}, err
	}
	root := answers.first(0)
	switch {
	case !root.bool("dpdk_initialized"):
		return row{}, fmt.Errorf("%w: Open vSwitch has not initialised DPDK (other_config:dpdk-init of its database, or ovs-vswitchd does not run)", vhostuser.ErrUnfit)
	case !slices.Contains(root.texts("iface_types"), portType):
		return row{}, fmt.Errorf("%w: this build of Open vSwitch has no ports of type %s", vhostuser.ErrUnfit, portType)
	}
	found := answers.first(1)
	switch datapath := found.text("datapath_type"); {
	case found.uuid(columnUUID) == "":
		return row{}, fmt.Errorf("bridge %s: %w: Open vSwitch has no such bridge", name, vhostuser.ErrUnfit)
	case datapath != typeNetdev:
		return row{}, fmt.Errorf("bridge %s: %w: its datapath_type is %q, must be %q", name, vhostuser.ErrUnfit, datapath, typeNetdev)
	}
	return found, nil
}

// Plug makes a port, and waits until ovs-vswitchd has taken it up.
func (s *Switch) Plug(ctx context.Context, port *vhostuser.Port) error {
	bridge, err := s.bridge(ctx, port.Bridge)
	if err != nil {
		return err
	}
	// One that is there already is of an ADD of which no state is left.
	if err := s.Unplug(ctx, port.Name); err != nil {
		return err
	}
	root, err := s.root(ctx)
	if err != nil {
		return err
	}
	answers, err := s.db.transact(ctx, append(insertPort(bridge, port), bump(root), selectAll(tableRoot, "next_cfg"))...)
	if err != nil {
		return fmt.Errorf("port %s: %w", port.Name, err)
	}
	const ofTheBridge = 2 // of the operations of insertPort
	if answers[ofTheBridge].Count != 1 {
		return fmt.Errorf("port %s: bridge %s went away", port.Name, port.Bridge)
	}
	if err := s.takenUp(ctx, root, answers.last().int("next_cfg"), port.Name); err != nil {
		return fmt.Errorf("port %s: %w", port.Name, err)
	}
	return nil
}

// root gives the identity of the one row of the whole switch.
func (s *Switch) root(ctx context.Context) (string, error) {
	answers, err := s.db.transact(ctx, selectAll(tableRoot, columnUUID))
	if err != nil {
		return "", err
	}
	return answers.first(0).uuid(columnUUID), nil
}

// takenUp waits until ovs-vswitchd has come to a configuration, and reports what it made
// of an interface in it.
func (s *Switch) takenUp(ctx context.Context, root string, config int, name string) error {
	answers, err := s.db.transact(ctx, waitFor(root, config, patience(ctx)),
		selectWhere(tableInterface, equals(columnName, name), "error", "ofport"))
	var timedOut *ovsdb.TimedOut
	if errors.As(err, &timedOut) {
		return fmt.Errorf("%w: ovs-vswitchd did not take up the change of its database in time: does it run?", vhostuser.ErrUnreachable)
	}
	if err != nil {
		return err
	}
	return fault(answers.first(1))
}

// fault reports why an interface is not served.
func fault(iface row) error {
	if said := iface.text("error"); said != "" {
		return fmt.Errorf("ovs-vswitchd: %s", said)
	}
	if iface.int("ofport") <= 0 {
		return errors.New("ovs-vswitchd gave it no OpenFlow port; its log tells why")
	}
	return nil
}

// patience is what a wait may take, in milliseconds: a little less than all the time
// there is, so that the answer comes as one.
func patience(ctx context.Context) int {
	const most, least = 30 * time.Second, 10 * time.Millisecond
	left := most
	if deadline, ok := ctx.Deadline(); ok {
		left = min(time.Until(deadline)*9/10, most)
	}
	return int(max(left, least) / time.Millisecond)
}

// Unplug removes a port of ours; it does not wait for ovs-vswitchd, which may be down.
func (s *Switch) Unplug(ctx context.Context, name string) error {
	answers, err := s.db.transact(ctx,
		selectWhere(tablePort, equals(columnName, name), columnUUID, "external_ids"), selectAll(tableRoot, columnUUID))
	if err != nil {
		return err
	}
	port := answers.first(0)
	if port.uuid(columnUUID) == "" || port.pairs("external_ids")[ownerKey] != ownerValue {
		return nil
	}
	if _, err := s.db.transact(ctx, removePort(port.uuid(columnUUID)), bump(answers.first(1).uuid(columnUUID))); err != nil {
		return fmt.Errorf("port %s: %w", name, err)
	}
	return nil
}

// Port gives a port as the database has it.
func (s *Switch) Port(ctx context.Context, name string) (*vhostuser.Port, error) {
	answers, err := s.db.transact(ctx,
		selectWhere(tablePort, equals(columnName, name), columnUUID, "tag", "trunks", "external_ids"),
		selectWhere(tableInterface, equals(columnName, name), "type", "options", "mtu_request", "error", "ofport"),
		selectAll(tableBridge, columnName, columnPorts),
	)
	if err != nil {
		return nil, err
	}
	row, iface := answers.first(0), answers.first(1)
	if row.uuid(columnUUID) == "" {
		return nil, vhostuser.ErrNoPort
	}
	options := iface.pairs("options")
	port := &vhostuser.Port{
		Name: name, Socket: options[optSocket], VLAN: row.int("tag"), Trunks: row.ints("trunks"), MTU: iface.int("mtu_request"),
		Queues: number(options[optQueues]), Owner: ownerIn(row),
	}
	for i := range answers[2].Rows {
		if bridge := answers.at(2, i); slices.Contains(bridge.uuids(columnPorts), row.uuid(columnUUID)) {
			port.Bridge = bridge.text(columnName)
		}
	}
	if kind := iface.text("type"); kind != portType {
		port.Problem = fmt.Sprintf("its type is %q, must be %q", kind, portType)
	} else if err := fault(iface); err != nil {
		port.Problem = err.Error()
	}
	return port, nil
}

// Owned gives the ports of ours that belong to a network, by name and owner alone.
func (s *Switch) Owned(ctx context.Context, network string) ([]vhostuser.Port, error) {
	mine, err := ovsdb.NewOvsMap(map[string]string{ownerKey: ownerValue, keyNetwork: network})
	if err != nil {
		return nil, err
	}
	answers, err := s.db.transact(ctx, selectWhere(tablePort,
		ovsdb.NewCondition("external_ids", ovsdb.ConditionIncludes, mine), columnName, "external_ids"))
	if err != nil {
		return nil, err
	}
	var ports []vhostuser.Port
	for i := range answers[0].Rows {
		r := answers.at(0, i)
		ports = append(ports, vhostuser.Port{Name: r.text(columnName), Owner: ownerIn(r)})
	}
	return ports, nil
}

func ownerIn(port row) vhostuser.Owner {
	ids := port.pairs("external_ids")
	return vhostuser.Owner{Network: ids[keyNetwork], ContainerID: ids[keySandbox], Interface: ids[keyIfName], Pod: ids[keyPod]}
}
