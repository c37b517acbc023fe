package trove

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Provision implements services.Backend. Trove makes a server in minutes, and its names are not
// unique: a server is looked up before it is asked for, and of two, the younger one is deleted.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	var result services.ProvisionResult
	p, err := b.projectFor(ctx, r)
	if err != nil {
		return result, err
	}
	at, err := b.visit(ctx, p)
	if err != nil {
		return result, err
	}
	stay := slices.DeleteFunc(slices.Clone(at.servers), func(s server) bool { return s.Status == "SHUTDOWN" })
	switch {
	case len(at.servers) == 0:
		return result, b.makeServer(ctx, at, r)
	case len(stay) > 1:
		return result, at.deleteAll(ctx, stay[1:])
	case len(at.servers) > 1:
		return result, superfluous()
	}
	err = at.made(ctx, at.servers[0])
	if err == nil && r.RestoreFrom != nil {
		err = at.closeForGood(ctx, at.servers[0])
	}
	return result, err
}

// projectFor returns an instance's project, which leads to that of the backup it is restored from.
func (b *backend) projectFor(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (openstack.Project, error) {
	home, origin, err := r.Instance.Name, (*openstack.Project)(nil), error(nil)
	if origin, err = b.origin(ctx, r.RestoreFrom); err != nil {
		return openstack.Project{}, err
	}
	if origin != nil {
		home = origin.Home
	}
	p, err := b.cloud.FindProject(ctx, r.Instance.Name)
	if errors.Is(err, openstack.ErrNoProject) || err == nil && p.Home != home {
		p, err = b.cloud.EnsureProjectAt(ctx, r.Instance.Name, home)
	}
	return p, err
}

// makeServer asks for a server in a project that may be one that a deprovision had begun to empty.
func (b *backend) makeServer(ctx context.Context, at place, r services.ProvisionRequest[Plan, InstanceParams]) error {
	p, err := b.cloud.EnsureProjectAt(ctx, r.Instance.Name, at.home.Instance)
	if err != nil {
		return err
	}
	backup, err := b.backupID(ctx, at, r.RestoreFrom)
	if err == nil {
		err = at.makeServer(ctx, r.Instance, backup)
	}
	if openstack.Refused(err) { // so that Deprovision does not wait for it
		err = errors.Join(err, b.cloud.SetMark(ctx, &p, openstack.Emptied))
	}
	return err
}

// makeServer asks for a server, with the content of a backup unless its ID is empty.
func (at place) makeServer(ctx context.Context, inst instance, backup string) error {
	flavor, err := at.flavorOf(ctx, inst.Plan)
	if err != nil {
		return err
	}
	err = at.create(ctx, at.project.Name, flavor, inst.Plan, schemaOf(at.database(), inst.Params), backup)
	f, _ := openstack.AsFailure(err)
	switch {
	case err == nil:
		return server{Status: "BUILD"}.wait()
	case refused(err) && backup != "":
		return services.Rejected("Trove refuses to restore the backup to a server of this plan; choose the plan that the instance had: %s", line(f.Message))
	case refused(err) && (inst.Params.CharacterSet != "" || inst.Params.Collate != ""):
		return services.Rejected("parameters.collate: Trove refuses character set %q with collation %q, or something of the plan: %s", inst.Params.CharacterSet, inst.Params.Collate, line(f.Message))
	case refused(err), openstack.Absent(err):
		return fmt.Errorf("create a database server of the plan (datastore %s, version %s, flavor %s, volume %s %s): %w",
			inst.Plan.Datastore, inst.Plan.Version, inst.Plan.Flavor, inst.Plan.Volume, inst.Plan.VolumeType, f)
	}
	return explain("create the database server", err)
}

// schemaOf describes a database to Trove.
func schemaOf(name string, p InstanceParams) map[string]string {
	d := map[string]string{"name": name, "character_set": characterSet(p)}
	if collate := collation(p); collate != "" {
		d["collate"] = collate
	}
	return d
}

// flavorOf is the ID of a plan's flavor.
func (at place) flavorOf(ctx context.Context, p Plan) (string, error) {
	id, err := at.flavor(ctx, p.Flavor)
	if err != nil {
		return "", explain("list the flavors", err)
	}
	if id == "" {
		return "", fmt.Errorf("flavor: the cloud has no flavor %s: change the plan, or make the flavor available to Trove's projects", p.Flavor)
	}
	return id, nil
}

// made ends a provision when the server works. A server that Trove could not make is deleted, so
// that the next attempt makes another.
func (at place) made(ctx context.Context, s server) error {
	if !s.failed() {
		return s.usable()
	}
	detailed, err := at.server(ctx, s.ID)
	if err != nil {
		return explain("ask for the database server", err)
	}
	if err := at.delete(ctx, s.ID); openstack.UnlessAbsent(err) != nil {
		return explain("delete the database server that Trove could not make", err)
	}
	return fmt.Errorf("Trove could not make the database server (status %s), and the broker deletes it to try again: %s", detailed.Status, faultOf(detailed)) //nolint:staticcheck // a name
}

// deleteAll deletes the younger of an instance's servers. An answer that was lost led to them, and
// nobody has used them yet.
func (at place) deleteAll(ctx context.Context, younger []server) error {
	for _, s := range younger {
		if err := at.deleteServer(ctx, s); err != nil {
			return err
		}
	}
	return superfluous()
}

func superfluous() error {
	return services.NotYet(poll, "a superfluous database server is being deleted")
}

// deleteServer asks Trove to delete a server unless it does so already. One that is being made can
// be deleted only later.
func (at place) deleteServer(ctx context.Context, s server) error {
	if s.Status == "SHUTDOWN" {
		return nil
	}
	err := at.delete(ctx, s.ID)
	return explain("delete the database server "+s.ID, openstack.UnlessAbsent(err))
}
