package ovs

import (
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/plexus-cni/plexus/internal/plugin/vhostuser"
)

func equals(column string, value any) ovsdb.Condition {
	return ovsdb.NewCondition(column, ovsdb.ConditionEqual, value)
}

func selectAll(table string, columns ...string) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationSelect, Table: table, Columns: columns}
}

func selectWhere(table string, where ovsdb.Condition, columns ...string) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationSelect, Table: table, Where: []ovsdb.Condition{where}, Columns: columns}
}

// insertPort gives the operations that make a port with its interface and put it into
// a bridge, which must still be what it was.
func insertPort(bridge row, port *vhostuser.Port) []ovsdb.Operation {
	const iface, own = "newInterface", "newPort"
	owner := ownerMap(&port.Owner)
	return []ovsdb.Operation{
		{Op: ovsdb.OperationInsert, Table: tableInterface, UUIDName: iface, Row: interfaceRow(port, owner)},
		{Op: ovsdb.OperationInsert, Table: tablePort, UUIDName: own, Row: portRow(port, ovsdb.UUID{GoUUID: iface}, owner)},
		{
			Op: ovsdb.OperationMutate, Table: tableBridge,
			Where:     []ovsdb.Condition{equals(columnUUID, ovsdb.UUID{GoUUID: bridge.uuid(columnUUID)}), equals("datapath_type", typeNetdev)},
			Mutations: []ovsdb.Mutation{*ovsdb.NewMutation(columnPorts, ovsdb.MutateOperationInsert, setOf(ovsdb.UUID{GoUUID: own}))},
		},
	}
}

func interfaceRow(port *vhostuser.Port, owner ovsdb.OvsMap) ovsdb.Row {
	options := map[any]any{optSocket: port.Socket}
	if port.Queues > 0 {
		options[optQueues] = strconv.Itoa(port.Queues)
	}
	row := ovsdb.Row{columnName: port.Name, "type": portType, "options": ovsdb.OvsMap{GoMap: options}, "external_ids": owner}
	if port.MTU > 0 {
		row["mtu_request"] = port.MTU
	}
	return row
}

// portRow gives a port: of one VLAN, of a trunk, or of a trunk whose untagged packets
// are of one VLAN.
func portRow(port *vhostuser.Port, iface ovsdb.UUID, owner ovsdb.OvsMap) ovsdb.Row {
	row := ovsdb.Row{columnName: port.Name, "interfaces": setOf(iface), "external_ids": owner}
	if port.VLAN > 0 {
		row["tag"] = port.VLAN
	}
	if len(port.Trunks) > 0 {
		trunks := ovsdb.OvsSet{}
		for _, id := range port.Trunks {
			trunks.GoSet = append(trunks.GoSet, id)
		}
		row["trunks"] = trunks
		if port.VLAN > 0 {
			row["vlan_mode"] = modeNative
		}
	}
	return row
}

func ownerMap(owner *vhostuser.Owner) ovsdb.OvsMap {
	ids := map[any]any{
		ownerKey: ownerValue, keyNetwork: owner.Network, keySandbox: owner.ContainerID, keyIfName: owner.Interface,
	}
	if owner.Pod != "" {
		ids[keyPod] = owner.Pod
	}
	return ovsdb.OvsMap{GoMap: ids}
}

func setOf(elements ...any) ovsdb.OvsSet { return ovsdb.OvsSet{GoSet: elements} }

// removePort takes a port out of the bridge that it is in; the database then forgets it
// and its interface.
func removePort(uuid string) ovsdb.Operation {
	port := setOf(ovsdb.UUID{GoUUID: uuid})
	return ovsdb.Operation{
		Op: ovsdb.OperationMutate, Table: tableBridge,
		Where:     []ovsdb.Condition{ovsdb.NewCondition(columnPorts, ovsdb.ConditionIncludes, port)},
		Mutations: []ovsdb.Mutation{*ovsdb.NewMutation(columnPorts, ovsdb.MutateOperationDelete, port)},
	}
}

// bump asks ovs-vswitchd to say when it has come this far.
func bump(root string) ovsdb.Operation {
	return ovsdb.Operation{
		Op: ovsdb.OperationMutate, Table: tableRoot, Where: []ovsdb.Condition{equals(columnUUID, ovsdb.UUID{GoUUID: root})},
		Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("next_cfg", ovsdb.MutateOperationAdd, 1)},
	}
}

// waitFor waits in the database, for so many milliseconds, until ovs-vswitchd has come
// to a configuration.
func waitFor(root string, config, milliseconds int) ovsdb.Operation {
	return ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: tableRoot, Timeout: &milliseconds, Until: string(ovsdb.WaitConditionEqual),
		Where: []ovsdb.Condition{
			equals(columnUUID, ovsdb.UUID{GoUUID: root}),
			ovsdb.NewCondition("cur_cfg", ovsdb.ConditionGreaterThanOrEqual, config),
		},
		Columns: []string{columnUUID}, Rows: []ovsdb.Row{{columnUUID: ovsdb.UUID{GoUUID: root}}},
	}
}
