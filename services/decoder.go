package services

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
)

// decoder decodes requests for a backend.
type decoder[P, I, B any] struct{}

func same[T any](r T) (T, error) { return r, nil }

func (decoder[P, I, B]) plan(p Plan) (P, error) {
	value, ok := p.value.(P)
	if !ok {
		return value, errors.New("the plan is not one of this backend")
	}
	return value, nil
}

func (d decoder[P, I, B]) instance(raw RawInstance) (inst Instance[P, I], err error) {
	inst = Instance[P, I]{ID: raw.ID, Name: raw.Name, Directories: raw.Directories}
	if inst.Name == "" && inst.ID != "" {
		inst.Name = InstanceName(inst.ID)
	}
	if inst.Plan, err = d.plan(raw.Plan); err != nil {
		return inst, err
	}
	inst.Params, err = d.params(raw)
	return inst, err
}

func (decoder[P, I, B]) params(raw RawInstance) (I, error) { return parameters[I](raw.Params) }

// lenientInstance decodes as much as it can, for calls such as a removal that must work
// even if today's rules no longer allow the plan or the parameters.
func (d decoder[P, I, B]) lenientInstance(raw RawInstance) (Instance[P, I], error) {
	inst, _ := d.instance(raw)
	return inst, nil
}

func (d decoder[P, I, B]) binding(inst RawInstance, raw RawBinding) (b Binding[B], err error) {
	b = Binding[B]{ID: raw.ID, Name: raw.Name, Seed: raw.Seed}
	if b.Name == "" {
		b.Name = BindingName(inst.ID, raw.ID)
	}
	b.Params, err = parameters[B](raw.Params)
	return b, err
}

func parameters[T any](raw json.RawMessage) (T, error) {
	params, err := Decode[T](raw)
	if err != nil {
		err = Rejected("%s", inParameters(err.Error()))
	}
	return params, err
}

// keyed matches a fault that begins with its key.
var keyed = regexp.MustCompile(`^([a-z][a-z0-9_.\[\]]*): `)

// inParameters names each fault's parameter like a schema's faults: "parameters.zone: ...".
func inParameters(faults string) string {
	lines := strings.Split(faults, "\n")
	for i, line := range lines {
		if keyed.MatchString(line) {
			lines[i] = "parameters." + line
		} else {
			lines[i] = "parameters: " + line
		}
	}
	return strings.Join(lines, "\n")
}

func (d decoder[P, I, B]) bound(rawInstance RawInstance, rawBinding RawBinding) (Instance[P, I], Binding[B], error) {
	inst, err := d.instance(rawInstance)
	if err != nil {
		return inst, Binding[B]{}, err
	}
	b, err := d.binding(rawInstance, rawBinding)
	return inst, b, err
}

func (d decoder[P, I, B]) provision(r RawProvision) (ProvisionRequest[P, I], error) {
	inst, err := d.instance(r.Instance)
	return ProvisionRequest[P, I]{inst, r.RestoreFrom}, err
}

func (d decoder[P, I, B]) update(r RawUpdate) (UpdateRequest[P, I], error) {
	prev, err := d.instance(r.Previous)
	if err != nil {
		return UpdateRequest[P, I]{}, err
	}
	next, err := d.instance(r.Instance)
	return UpdateRequest[P, I]{prev, next, r.Operation}, err
}

func (d decoder[P, I, B]) deprovision(r RawDeprovision) (DeprovisionRequest[P, I], error) {
	inst, err := d.lenientInstance(r.Instance)
	return DeprovisionRequest[P, I]{inst}, err
}

func (d decoder[P, I, B]) bind(r RawBind) (BindRequest[P, I, B], error) {
	inst, b, err := d.bound(r.Instance, r.Binding)
	return BindRequest[P, I, B]{inst, b}, err
}

func (d decoder[P, I, B]) unbind(r RawUnbind) (UnbindRequest[P, I, B], error) {
	inst, err := d.lenientInstance(r.Instance)
	b, _ := d.binding(r.Instance, r.Binding)
	return UnbindRequest[P, I, B]{inst, b}, err
}

func (d decoder[P, I, B]) verify(r RawVerify) (VerifyRequest[P, I, B], error) {
	inst, b, err := d.bound(r.Instance, r.Binding)
	return VerifyRequest[P, I, B]{inst, b}, err
}

func (d decoder[P, I, B]) adopt(r RawAdopt) (AdoptRequest[P, I], error) {
	inst, err := d.instance(r.Instance)
	return AdoptRequest[P, I]{inst, r.Resource, r.DryRun}, err
}

func (d decoder[P, I, B]) backup(r RawBackup) (BackupRequest[P, I], error) {
	inst, err := d.instance(r.Instance)
	return BackupRequest[P, I]{inst, r.Writer, r.Base}, err
}

func (d decoder[P, I, B]) restore(r RawRestore) (RestoreRequest[P, I], error) {
	inst, err := d.instance(r.Instance)
	return RestoreRequest[P, I]{inst, r.Contents, r.Reader, r.Bases}, err
}

func (d decoder[P, I, B]) createBackup(r RawCreateBackup) (CreateBackupRequest[P, I], error) {
	inst, err := d.instance(r.Instance)
	return CreateBackupRequest[P, I]{inst, r.BackupID}, err
}

func (d decoder[P, I, B]) reconcile(r RawReconcile) (ReconcileRequest[P, I], error) {
	plans, instances := make([]P, 0, len(r.Plans)), make([]Instance[P, I], 0, len(r.Instances))
	for _, raw := range r.Plans {
		p, err := d.plan(raw)
		if err != nil {
			return ReconcileRequest[P, I]{}, err
		}
		plans = append(plans, p)
	}
	for _, raw := range r.Instances {
		// An instance that today's rules no longer allow does not stop the others. Its
		// next operation reports the fault.
		if inst, err := d.instance(raw); err == nil {
			instances = append(instances, inst)
		}
	}
	return ReconcileRequest[P, I]{plans, instances}, nil
}

var nameEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// InstanceName returns the safe name of an instance: 26 characters of
// [a-z2-7], 128 bits of SHA-256 of the ID.
func InstanceName(instanceID string) string { return safeName("instance", instanceID) }

// BindingName returns the safe name of a binding: 26 characters of [a-z2-7],
// 128 bits of SHA-256 of both IDs.
func BindingName(instanceID, bindingID string) string {
	return safeName("binding", instanceID, bindingID)
}

func safeName(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p))) // lengths first: ("ab","c") is not ("a","bc")
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return nameEncoding.EncodeToString(h.Sum(nil)[:16])
}
