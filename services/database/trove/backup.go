package trove

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/naming"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Trove keeps backups in the project of their server, and restores them only there. Project.Home
// says where a restored server is.

var _ services.BackupHolder[Plan, InstanceParams] = (*backend)(nil)

// backupFormat is the format of Trove's backups, which only Trove reads.
const backupFormat = "trove-1"

// backup is one of Trove's.
type backup struct {
	ID, Name, Description, Status string
	Size                          float64 // GB
	Created                       timestamp
}

var (
	backupRule = naming.NewRule(`backup of ` + naming.Safe + `, kept by Chandler`)
	idRule     = naming.NewRule(`([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})`)
)

// describeBackup is a backup's description. A name has no room for that of the instance.
func describeBackup(instance string) string { return "backup of " + instance + ", kept by Chandler" }

// held reads whose backup it is; ok is false of one that others made.
func (b *backend) held(found backup) (h services.HeldBackup, ok bool) {
	text, named := strings.CutPrefix(found.Name, b.cloud.ProjectName(""))
	id, valid := idRule.Instance(text)
	instance, described := backupRule.Instance(found.Description)
	return services.HeldBackup{Instance: instance, ID: id, Created: found.Created.Time}, named && valid && described
}

func (s backup) running() bool {
	return slices.Contains([]string{"NEW", "BUILDING", "SAVING"}, s.Status)
}

func (a api) backups(ctx context.Context) ([]backup, error) {
	all, err := pages[backup](ctx, a, "backups", "backups")
	return all, explain("list the backups", err)
}

func (a api) createBackup(ctx context.Context, server, name, description string) error {
	request := map[string]string{"instance": server, "name": name, "description": description}
	return a.call(ctx, http.MethodPost, map[string]any{"backup": request}, nil, "backups")
}

// backupsOf are those of an instance; all of them if id is empty.
func (b *backend) backupsOf(ctx context.Context, at place, instance, id string) ([]backup, error) {
	all, err := at.backups(ctx)
	return slices.DeleteFunc(all, func(found backup) bool {
		h, ok := b.held(found)
		return !ok || h.Instance != instance || id != "" && h.ID != id
	}), err
}

// CreateBackup implements services.BackupHolder.
func (b *backend) CreateBackup(ctx context.Context, r services.CreateBackupRequest[Plan, InstanceParams]) (services.CreateBackupResult, error) {
	result := services.CreateBackupResult{Format: backupFormat}
	at, s, err := b.find(ctx, r.Instance.Name)
	if err != nil {
		return result, gone(err)
	}
	found, err := b.backupsOf(ctx, at, r.Instance.Name, r.BackupID)
	if err != nil {
		return result, err
	}
	waiting := services.NotYet(poll, "Trove makes the backup")
	if len(found) == 0 {
		err := at.createBackup(ctx, s.ID, b.cloud.ProjectName(r.BackupID), describeBackup(r.Instance.Name))
		if err != nil {
			return result, explain("create the backup", err)
		}
		return result, waiting
	}
	if i := slices.IndexFunc(found, func(f backup) bool { return f.Status == "COMPLETED" }); i >= 0 {
		result.Size = services.Size(math.Ceil(found[i].Size * float64(services.Gigabyte)))
		return result, nil
	}
	if slices.ContainsFunc(found, backup.running) {
		return result, waiting
	}
	for _, f := range found { // so that the next attempt makes another
		if err := at.deleteOwned(ctx, "backups", f.ID); openstack.UnlessAbsent(err) != nil {
			return result, explain("delete a backup that failed", err)
		}
	}
	return result, fmt.Errorf("Trove could not make the backup (status %s): see the log of the guest agent of server %s", found[0].Status, s.ID) //nolint:staticcheck // a name
}

// ListBackups implements services.BackupHolder.
func (b *backend) ListBackups(ctx context.Context) ([]services.HeldBackup, error) {
	projects, err := b.cloud.Projects(ctx)
	if err != nil {
		return nil, err
	}
	var group errgroup.Group
	group.SetLimit(sideBySide)
	parts := make([][]services.HeldBackup, len(projects))
	for i, p := range projects {
		if p.AtHome() {
			group.Go(func() (err error) {
				parts[i], err = b.listBackups(ctx, p)
				return err
			})
		}
	}
	err = group.Wait()
	return slices.Concat(parts...), err
}

func (b *backend) listBackups(ctx context.Context, p openstack.Project) (list []services.HeldBackup, err error) {
	at, err := b.visit(ctx, p)
	if err == nil {
		var all []backup
		all, err = at.backups(ctx)
		for _, found := range all {
			if h, ok := b.held(found); ok {
				list = append(list, h)
			}
		}
	}
	if err != nil {
		if _, gone := b.cloud.FindProject(ctx, p.Instance); errors.Is(gone, openstack.ErrNoProject) { // deleted meanwhile
			return nil, nil
		}
	}
	return list, err
}

// DeleteBackup implements services.BackupHolder.
func (b *backend) DeleteBackup(ctx context.Context, h services.HeldBackup) error {
	p, err := b.cloud.FindProject(ctx, h.Instance)
	if errors.Is(err, openstack.ErrNoProject) {
		return nil
	}
	if err != nil {
		return err
	}
	at, err := b.visit(ctx, p)
	if errors.Is(err, openstack.ErrNoProject) { // its home, with all backups
		return nil
	}
	if err != nil {
		return err
	}
	found, err := b.backupsOf(ctx, at, h.Instance, h.ID)
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := at.deleteOwned(ctx, "backups", f.ID); openstack.UnlessAbsent(err) != nil {
			return explain("delete the backup "+f.ID, err)
		}
	}
	if len(found) > 0 {
		return services.NotYet(poll, "Trove deletes the backup")
	}
	if p.Mark == openstack.Kept {
		return b.release(ctx, p)
	}
	return nil
}

// release deletes the project of an instance that was deprovisioned, unless backups or other
// instances need it.
func (b *backend) release(ctx context.Context, p openstack.Project) error {
	at, err := b.visit(ctx, p)
	if errors.Is(err, openstack.ErrNoProject) { // its home
		return b.cloud.DeleteProject(ctx, p)
	}
	if err != nil {
		return err
	}
	needed, err := b.needed(ctx, at)
	if err != nil || needed {
		return err
	}
	return b.drop(ctx, at)
}

// drop deletes the project of an instance, which nothing needs, and its home if nothing else needs
// that.
func (b *backend) drop(ctx context.Context, at place) error {
	if !at.project.AtHome() && at.home.Mark == openstack.Kept {
		if err := b.release(ctx, at.home); err != nil {
			return err
		}
	}
	return b.cloud.DeleteProject(ctx, at.project)
}

// needed says whether an instance's project is needed without its server.
func (b *backend) needed(ctx context.Context, at place) (bool, error) {
	all, err := at.backups(ctx)
	of := func(found backup) bool {
		h, ok := b.held(found)
		return ok && (at.project.AtHome() || h.Instance == at.project.Instance)
	}
	return slices.ContainsFunc(all, of) || at.project.AtHome() && at.restored > 0, err
}

// origin is the project whose server a backup was made of, and nil without a backup.
func (b *backend) origin(ctx context.Context, from *services.HeldBackup) (*openstack.Project, error) {
	if from == nil {
		return nil, nil
	}
	p, err := b.cloud.FindProject(ctx, from.Instance)
	if errors.Is(err, openstack.ErrNoProject) {
		return nil, noBackup()
	}
	return &p, err
}

func noBackup() error {
	return services.Rejected("Trove no longer has the backup; restore another one")
}

// backupID is Trove's ID of a backup; empty without one.
func (b *backend) backupID(ctx context.Context, at place, from *services.HeldBackup) (string, error) {
	if from == nil {
		return "", nil
	}
	found, err := b.backupsOf(ctx, at, from.Instance, from.ID)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(found, func(f backup) bool { return f.Status == "COMPLETED" })
	if i < 0 {
		return "", noBackup()
	}
	return found[i].ID, nil
}

// closeForGood takes the passwords and the markers from users that a restored backup brought along:
// they are nobody's, and stay only as the definers of views and routines.
func (at place) closeForGood(ctx context.Context, s server) error {
	users, err := at.users(ctx, s.ID)
	if err != nil {
		return explain("list the users", err)
	}
	for _, u := range users {
		o := ownerOf(u.grants(), s.ID)
		if o.binding == "" || o.here {
			continue
		}
		err := at.setPassword(ctx, s.ID, u.Name, services.NewSecret(rand.Text()))
		if err == nil {
			err = openstack.UnlessAbsent(at.revoke(ctx, s.ID, u.Name, o.marker))
		}
		if err != nil {
			return fmt.Errorf("close the user %s of the restored backup: %w", u.Name, explain("change the user", err))
		}
	}
	return nil
}
