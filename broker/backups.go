package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// source is what a new instance is filled from: the broker's own parameters of a provision.
type source struct {
	instance string     // whose backup it is, or which instance is cloned
	backup   string     // its ID, or latest
	before   *time.Time // of the latest; nil: now
	clone    bool
	// field is the parameter that names the instance, for errors.
	field string
}

const latest = "latest"

// takeSource takes the broker's own parameters out of a provision's. They stay in the instance's
// row, where a repeated request is compared with them.
func takeSource(plan *catalog.Plan, parameters json.RawMessage) (rest, own json.RawMessage, err error) {
	own = json.RawMessage("{}")
	if plan.Backups == nil {
		return parameters, own, nil
	}
	all, err := decodeObject(parameters)
	if err != nil {
		return nil, nil, err
	}
	taken := map[string]any{}
	for _, name := range catalog.ReservedOfProvision() {
		if value, ok := all[name]; ok {
			taken[name] = value
			delete(all, name)
		}
	}
	if len(taken) == 0 {
		return parameters, own, nil
	}
	if own, err = json.Marshal(taken); err != nil {
		return nil, nil, err
	}
	rest, err = json.Marshal(all)
	return rest, own, err
}

// parseSource reads the broker's own parameters, which the plan's schema has checked; nil: the
// instance is to be empty.
func parseSource(own json.RawMessage) (*source, error) {
	var p struct {
		RestoreFrom *struct{ Instance, Backup, Before string } `json:"restore_from"`
		CloneOf     string                                     `json:"clone_of"`
		LatestOf    string                                     `json:"restore_from_latest_snapshot_of"`
		Before      string                                     `json:"restore_from_latest_snapshot_before"`
	}
	if err := json.Unmarshal(own, &p); err != nil {
		return nil, internal("decode the broker's own parameters", err)
	}
	var found []source
	var before, field string
	if p.RestoreFrom != nil {
		found = append(found, source{instance: p.RestoreFrom.Instance, backup: cmp.Or(p.RestoreFrom.Backup, latest), field: "restore_from.instance"})
		before, field = p.RestoreFrom.Before, "restore_from.before"
	}
	if p.CloneOf != "" {
		found = append(found, source{instance: p.CloneOf, clone: true, field: catalog.CloneOf})
	}
	if p.LatestOf != "" {
		found = append(found, source{instance: p.LatestOf, backup: latest, field: catalog.RestoreFromLatestOf})
		before, field = p.Before, catalog.RestoreFromLatestBefore
	}
	switch {
	case len(found) > 1:
		return nil, fail(Invalid, "parameters.%s: an instance is filled from one source; remove this or parameters.%s", found[1].field, found[0].field)
	case p.Before != "" && p.LatestOf == "":
		return nil, fail(Invalid, "parameters.%s: needs parameters.%s, the instance whose backup is restored", catalog.RestoreFromLatestBefore, catalog.RestoreFromLatestOf)
	case len(found) == 0:
		return nil, nil
	}
	s := found[0]
	if before == "" {
		return &s, nil
	}
	if s.backup != latest {
		return nil, fail(Invalid, "parameters.restore_from.before: is for the latest backup before a time; remove this, or parameters.restore_from.backup")
	}
	at, err := parseBefore(before)
	if err != nil {
		return nil, fail(Invalid, "parameters.%s: must be a time such as 2026-03-01T12:00:00Z (RFC 3339)", field)
	}
	s.before = &at
	return &s, nil
}

// parseBefore reads a time. Other brokers take one without a zone, in UTC.
func parseBefore(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse(time.DateTime, text)
	}
	return at, err
}

// fill records what a new instance is filled from. The instance's row exists in tx; copyID is that
// of the copy that its operation waits for.
type fill struct {
	from   store.Backup   // of a restore
	cloned store.Instance // of a clone
	clone  bool
	// held says that a server holds the backup, or will hold that for the clone.
	held bool
}

// server is the one that the backup or the cloned instance is on.
func (f fill) server() string {
	if f.clone {
		return f.cloned.Server
	}
	return f.from.Server
}

// findSource finds what the instance is to be filled from, and checks that it fits. What does not
// exist and what belongs to others reads the same.
func (b *Broker) findSource(ctx context.Context, tx *store.Tx, plan *catalog.Plan, want store.Instance, s source) (fill, error) {
	driver, err := b.anyDriver(plan)
	if err != nil {
		return fill{}, err
	}
	if driver.Restore == nil && driver.CreateBackup == nil {
		return fill{}, fail(Unsupported, "parameters.%s: backups cannot be restored to instances of plan %q", s.field, plan.Name)
	}
	if strings.ContainsRune(s.instance, 0) { // which no ID has, and the database does not take
		s.instance = ""
	}
	if s.clone {
		f, err := b.findClone(ctx, tx, plan, want, s)
		f.held = driver.CreateBackup != nil
		return f, err
	}
	chosen, err := b.findBackup(ctx, tx, want, s)
	if err != nil {
		return fill{}, err
	}
	return fill{from: chosen, held: chosen.Held}, b.fits(ctx, driver, plan, chosen, s)
}

func (b *Broker) findBackup(ctx context.Context, tx *store.Tx, want store.Instance, s source) (none store.Backup, err error) {
	all, err := b.Store.ReadyBackupsOfInstance(ctx, tx, s.instance)
	if err != nil {
		return none, err
	}
	known := false
	for _, candidate := range all {
		if !ownsBackup(want, candidate) || candidate.Origin == store.ForClone {
			continue
		}
		known = true
		if s.backup != candidate.ID && (s.backup != latest || s.before != nil && !candidate.CreatedAt.Before(*s.before)) {
			continue
		}
		// It might be deleted at this moment.
		locked, err := b.Store.BackupForShare(ctx, tx, candidate.ID)
		if err == nil && locked.State == store.BackupReady {
			return locked, nil
		} else if err != nil && !store.NotFound(err) {
			return none, err
		}
	}
	switch {
	case !known:
		return none, fail(Invalid, "parameters.%s: no instance of this service with this id has a backup in this space; "+
			"give the id of an instance that has one", s.field)
	case s.backup != latest:
		return none, fail(Invalid, "parameters.restore_from.backup: the instance has no backup with this id; fetch the instance to see its backups, or give %q", latest)
	}
	return none, fail(Invalid, "parameters.%s: the instance has no backup from before this time", cmp.Or(map[bool]string{true: catalog.RestoreFromLatestBefore}[s.field == catalog.RestoreFromLatestOf], "restore_from.before"))
}

// ownsBackup reports whether a backup is of the same tenant and service as an instance.
func ownsBackup(i store.Instance, b store.Backup) bool {
	n := operation.NamespaceOf(i)
	return i.Platform == b.Platform && i.OrganizationID == b.OrganizationID && i.SpaceID == b.SpaceID && i.ServiceID == b.ServiceID &&
		n.Namespace == b.Namespace && n.ClusterID == b.ClusterID
}

// fits refuses a backup that the plan's backend cannot read, or that is too large for the plan.
func (b *Broker) fits(ctx context.Context, driver *services.Driver, plan *catalog.Plan, from store.Backup, s source) error {
	if from.BackendType != plan.BackendType {
		return fail(Invalid, "parameters.%s: the backup is of another kind of server than plan %q has; choose another plan", s.field, plan.Name)
	}
	switch {
	case from.Held && from.Backend != plan.Backend:
		return fail(Invalid, "parameters.%s: the server that holds the backup has no instances of plan %q; choose the plan that the instance had", s.field, plan.Name)
	case from.Held != (driver.CreateBackup != nil):
		return fail(Invalid, "parameters.%s: the backup was made by another release of the broker, which this one cannot restore; ask your operator", s.field)
	}
	target, err := driver.Footprint.OrZero(ctx, plan.Config)
	if err != nil {
		return internal("ask for the plan's size", err)
	}
	was, ok := b.Catalog.Plan(from.ServiceID, from.PlanID)
	if ok && was != plan && target.Storage > 0 && from.RawBytes > int64(target.Storage) {
		before, err := driver.Footprint.OrZero(ctx, was.Config)
		if err == nil && (before.Storage == 0 || before.Storage > target.Storage) {
			return fail(Invalid, "parameters.%s: the backup has %d bytes, and plan %q has room for %s; choose a larger plan", s.field, from.RawBytes, plan.Name, target.Storage)
		}
	}
	return nil
}

func (b *Broker) findClone(ctx context.Context, tx *store.Tx, plan *catalog.Plan, want store.Instance, s source) (fill, error) {
	unknown := fail(Invalid, "parameters.%s: no instance of this service with this id is ready in this space; give the id of one that is", s.field)
	have, err := b.Store.InstanceForShare(ctx, tx, s.instance)
	if store.NotFound(err) || err == nil && (!visible(ctx, have) || have.ID == want.ID || have.Status != store.Ready ||
		have.ServiceID != want.ServiceID || !operation.SameTenant(have, want)) {
		return fill{}, unknown
	} else if err != nil {
		return fill{}, err
	}
	was, err := b.planOf(have)
	if err != nil {
		return fill{}, err
	}
	if was.Backups == nil {
		return fill{}, fail(Invalid, "parameters.%s: instances of plan %q cannot be copied", s.field, was.Name)
	}
	if was.BackendType != plan.BackendType {
		return fill{}, fail(Invalid, "parameters.%s: the instance is on another kind of server than plan %q has; choose another plan", s.field, plan.Name)
	}
	if plan.Backups != nil && plan.Backups.Held && was.Backend != plan.Backend {
		return fill{}, fail(Invalid, "parameters.%s: the server of the instance has no instances of plan %q; choose the plan that the instance has", s.field, plan.Name)
	}
	if active, err := b.Store.UnfinishedOperations(ctx, tx, have.ID); err != nil {
		return fill{}, err
	} else if isBusy(active) {
		return fill{}, fail(Concurrency, "an operation on the instance to clone is in progress; repeat the request when it has ended")
	}
	return fill{cloned: have, clone: true}, nil
}

// record records the copies of a fill, and returns the ID of the one that the operation waits for.
func (b *Broker) recordFill(ctx context.Context, tx *store.Tx, f fill, i store.Instance) (copyID string, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	if f.clone {
		if f.from, err = backup.Insert(ctx, b.Store, tx, f.cloned, backup.New{Origin: store.ForClone}); err != nil {
			return "", err
		}
	}
	return id.String(), backup.InsertRestore(ctx, b.Store, tx, f.from, i, id.String())
}

// wantedBackup takes the request for a backup out of an update's parameters; name is empty if there
// is none.
func wantedBackup(plan *catalog.Plan, patch json.RawMessage) (name string, rest json.RawMessage, err error) {
	if plan.Backups == nil || plan.Backups.OnDemand == 0 {
		return "", patch, nil
	}
	all, err := decodeObject(patch)
	if err != nil {
		return "", nil, err
	}
	asked, ok := all[catalog.Backup].(map[string]any)
	if !ok {
		return "", patch, nil
	}
	name, _ = asked["name"].(string)
	delete(all, catalog.Backup)
	rest, err = json.Marshal(all)
	return name, rest, err
}

// acceptBackup records the backup that an update asks for, with the operation that waits for it. It
// joins the operation that makes the same backup, and returns none if that is made.
func (b *Broker) acceptBackup(ctx context.Context, tx *store.Tx, have, want store.Instance, name string) (op *store.Operation, joined bool, err error) {
	active, err := b.Store.UnfinishedOperations(ctx, tx, have.ID)
	if err != nil {
		return nil, false, err
	}
	made, err := b.Store.BackupByName(ctx, tx, store.BackupByNameParams{ResourceName: operation.SafeName(have), Name: name})
	switch {
	case err != nil && !store.NotFound(err):
		return nil, false, err
	case err == nil && made.State == store.BackupReady:
		return nil, false, nil
	case err == nil:
		making, err := b.Store.CopyOfBackup(ctx, tx, made.ID)
		if err != nil {
			return nil, false, err
		}
		if op = store.On(active, ""); op != nil && op.CopyID == making.ID {
			return op, true, nil
		}
	}
	if store.On(active, "") != nil {
		return nil, false, fail(Concurrency, "another operation on this instance is in progress; repeat the request when it has ended")
	}
	if broken, err := b.leftovers(ctx, tx, have.ID, ""); err != nil {
		return nil, false, err
	} else if broken {
		return nil, false, fail(Unsupported, "the last update of this instance failed half-way; repeat it, and then make the backup")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, false, err
	}
	if _, err := backup.Insert(ctx, b.Store, tx, have, backup.New{Origin: store.ByUser, Name: name, CopyID: id.String()}); err != nil {
		return nil, false, err
	}
	accepted, err := b.acceptWaiting(ctx, tx, store.Update, want, id.String())
	return &accepted, false, err
}
