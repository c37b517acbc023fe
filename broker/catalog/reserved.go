package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The parameters of the broker itself, which no backend sees. Plans with backups have them.
const (
	// RestoreFrom, in a provision, names a backup to restore.
	RestoreFrom = "restore_from"
	// CloneOf, in a provision, is the ID of an instance to copy.
	CloneOf = "clone_of"
	// RestoreFromLatestOf and RestoreFromLatestBefore are other brokers' names for
	// restore_from.instance and restore_from.before.
	RestoreFromLatestOf     = "restore_from_latest_snapshot_of"
	RestoreFromLatestBefore = "restore_from_latest_snapshot_before"
	// Backup, in an update, makes a backup.
	Backup = "backup"
)

// reservedCreate are the schemas of the broker's own parameters of a provision.
const reservedCreate = `{
	"restore_from": {
		"description": "Fill the new instance from a backup of an instance in the same space",
		"type": "object", "additionalProperties": false, "required": ["instance"],
		"properties": {
			"instance": {"description": "ID of the instance that the backup is of; it may be deleted", "type": "string", "minLength": 1, "maxLength": 255},
			"backup": {"description": "ID of the backup, or latest", "type": "string", "minLength": 1, "maxLength": 64, "default": "latest"},
			"before": {"description": "With latest: the latest backup before this time (RFC 3339)", "type": "string", "maxLength": 64}
		}
	},
	"clone_of": {"description": "Fill the new instance with a copy of this instance in the same space", "type": "string", "minLength": 1, "maxLength": 255},
	"restore_from_latest_snapshot_of": {"description": "The same as restore_from.instance", "type": "string", "minLength": 1, "maxLength": 255},
	"restore_from_latest_snapshot_before": {"description": "The same as restore_from.before", "type": "string", "maxLength": 64}
}`

// reservedUpdate are the schemas of the broker's own parameters of an update.
const reservedUpdate = `{
	"backup": {
		"description": "Make a backup now, once for each name",
		"type": "object", "additionalProperties": false, "required": ["name"],
		"properties": {"name": {"description": "Your name for the backup", "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}}
	}
}`

// emptySchema is that of a verb without parameters of the backend.
const emptySchema = `{"$schema": "` + draft4 + `", "type": "object", "additionalProperties": false, "properties": {}}`

// withReserved returns the schemas of a plan with backups: the backend's, and the broker's own
// parameters. A backend whose own parameters have these names is at fault.
func withReserved(s schemas, onDemand bool) (schemas, error) {
	var err error
	if s.Instance.Create, err = s.Instance.Create.with(reservedCreate); err != nil || !onDemand {
		return s, err
	}
	s.Instance.Update, err = s.Instance.Update.with(reservedUpdate)
	return s, err
}

// reservedParameters adds the broker's own parameters to those of a plan with backups.
func (r servicesReader) reservedParameters(n *node, p *Plan) {
	if p.Backups == nil {
		return
	}
	var err error
	if p.Schemas, err = withReserved(p.Schemas, p.Backups.OnDemand > 0); err != nil {
		r.wrong(n.member("backups"), "the schema of the backend's parameters cannot take the broker's own: %s", err)
	}
}

// with returns the schema with further properties after its own.
func (s *parameterSchema) with(properties string) (*parameterSchema, error) {
	source := []byte(emptySchema)
	if s != nil {
		source = s.Parameters
	}
	own, end, err := topProperties(source)
	if err != nil {
		return nil, err
	}
	var more map[string]json.RawMessage
	if err := json.Unmarshal([]byte(properties), &more); err != nil {
		return nil, err
	}
	for name := range own {
		if _, reserved := more[name]; reserved {
			return nil, fmt.Errorf("the backend has a parameter %q, which is the broker's own", name)
		}
	}
	// Spliced, because platforms show the properties in the file's order.
	text := string(source[:end])
	if len(own) > 0 {
		text += ","
	}
	text += strings.TrimSuffix(strings.TrimPrefix(properties, "{"), "}") + string(source[end:])
	return compileSchema([]byte(text))
}

// topProperties returns a schema's properties, and the offset of the brace that ends them.
func topProperties(source []byte) (own map[string]json.RawMessage, end int64, err error) {
	in := json.NewDecoder(bytes.NewReader(source))
	if _, err := in.Token(); err != nil {
		return nil, 0, err
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return nil, 0, err
		}
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return nil, 0, err
		}
		if key == "properties" {
			err := json.Unmarshal(value, &own)
			return own, in.InputOffset() - 1, err
		}
	}
	return nil, 0, errors.New("it has no properties, not even an empty object")
}

// ReservedOfProvision are the names of the broker's own parameters of a provision.
func ReservedOfProvision() []string {
	return []string{RestoreFrom, CloneOf, RestoreFromLatestOf, RestoreFromLatestBefore}
}
