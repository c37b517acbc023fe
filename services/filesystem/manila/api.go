package manila

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/messages"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shareaccessrules"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/snapshots"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

const (
	// apiVersion is the lowest that has the calls of this package: access rules with metadata
	// (API reference, "REST API version history"). It is of the release Rocky, of 2018.
	apiVersion = "2.45"
	// instanceKey is the key of a share's metadata whose value is the Instance.Name.
	instanceKey = "chandler_instance"

	cephx = "cephx"
	ip    = "ip"
)

// project is Manila as a member of an instance's home sees it.
type project struct {
	client *gophercloud.ServiceClient
	home   openstack.Project
}

// enter returns Manila at the home of an instance with this project. The error is
// openstack.ErrNoProject if the home was deleted.
func (b *backend) enter(ctx context.Context, p openstack.Project) (project, error) {
	home, err := b.cloud.FindHome(ctx, p)
	if err != nil {
		return project{}, err
	}
	client, err := b.cloud.Client(ctx, home)
	if err != nil {
		return project{}, err
	}
	client.Microversion = apiVersion
	return project{client, home}, nil
}

// explain is openstack.Explain, with what is Manila's own.
func explain(doing string, err error) error {
	if openstack.Status(err) == http.StatusNotAcceptable {
		return fmt.Errorf("%s: Manila does not have version %s of its API: it must be of the release Rocky or newer", doing, apiVersion)
	}
	return openstack.Explain(doing, err)
}

// all returns every share in the project, also those that others made there, oldest first.
func (p project) all(ctx context.Context) ([]shares.Share, error) {
	var answer struct{ Shares []shares.Share }
	if err := p.get(ctx, &answer, "shares", "detail"); err != nil {
		return nil, explain("list the shares", err)
	}
	slices.SortFunc(answer.Shares, func(a, b shares.Share) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return answer.Shares, nil
}

func (p project) get(ctx context.Context, answer any, path ...string) error {
	return openstack.Call(ctx, p.client, http.MethodGet, p.client.ServiceURL(path...), nil, answer)
}

// sharesOf returns an instance's shares, oldest first. Names of shares are not unique: after a lost
// answer there may be two.
func (p project) sharesOf(ctx context.Context, instance string) ([]shares.Share, error) {
	found, err := p.all(ctx)
	return slices.DeleteFunc(found, func(s shares.Share) bool { return s.Metadata[instanceKey] != instance }), err
}

// create asks for a share, with the files of a snapshot unless its ID is empty.
func (p project) create(ctx context.Context, name string, inst instance, snapshot string) error {
	_, err := shares.Create(ctx, p.client, shares.CreateOpts{
		Name: name, ShareProto: strings.ToUpper(string(inst.Plan.Protocol)), ShareType: inst.Plan.ShareType, Size: size(inst),
		Metadata: map[string]string{instanceKey: inst.Name}, SnapshotID: snapshot,
	}).Extract()
	if f, ok := openstack.AsFailure(err); ok && snapshot != "" && f.Status == http.StatusBadRequest {
		return services.Rejected("Manila refuses to restore the backup to a share of this plan; choose the plan that the instance had: %s", f.Message)
	}
	if openstack.Absent(err) {
		return fmt.Errorf("share_type: Manila has no share type %s, or does not show it to the broker's projects: create it, or make it public: %w",
			inst.Plan.ShareType, explain("create the share", err))
	}
	return overQuota(explain("create the share", err))
}

// overQuota tells the user which quota is exceeded.
func overQuota(err error) error {
	if f, ok := openstack.AsFailure(err); ok && f.Status == http.StatusRequestEntityTooLarge {
		return services.Rejected("parameters.storage: the cloud's quotas do not allow this size (%s): choose a smaller one, or ask your operator for a larger quota", f.Message)
	}
	return err
}

func (p project) delete(ctx context.Context, share string) error {
	return explain("delete the share", openstack.UnlessAbsent(shares.Delete(ctx, p.client, share).ExtractErr()))
}

func (p project) extend(ctx context.Context, share string, gigabytes int) error {
	err := shares.Extend(ctx, p.client, share, shares.ExtendOpts{NewSize: gigabytes}).ExtractErr()
	return overQuota(explain("extend the share", err))
}

func (p project) shrink(ctx context.Context, share string, gigabytes int) error {
	return explain("shrink the share", shares.Shrink(ctx, p.client, share, shares.ShrinkOpts{NewSize: gigabytes}).ExtractErr())
}

// messages are what Manila says to users about a share, newest first.
func (p project) messages(ctx context.Context, share string) ([]messages.Message, error) {
	var answer struct{ Messages []messages.Message }
	err := openstack.Call(ctx, p.client, http.MethodGet, p.client.ServiceURL("messages")+"?"+url.Values{"resource_id": {share}}.Encode(), nil, &answer)
	slices.SortFunc(answer.Messages, func(a, b messages.Message) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return answer.Messages, explain("read Manila's messages", err)
}

// snapshots are all in the project.
func (p project) snapshots(ctx context.Context) ([]snapshots.Snapshot, error) {
	var answer struct{ Snapshots []snapshots.Snapshot }
	err := p.get(ctx, &answer, "snapshots", "detail")
	return answer.Snapshots, explain("list the snapshots", err)
}

// export returns where clients find a share: the preferred place of those that Manila lists.
func (p project) export(ctx context.Context, share string) (string, error) {
	found, err := shares.ListExportLocations(ctx, p.client, share).Extract()
	if err != nil {
		return "", explain("list the share's export locations", err)
	}
	if len(found) == 0 {
		return "", services.NotYet(pollShare, "waiting until Manila exports the share")
	}
	if i := slices.IndexFunc(found, func(l shares.ExportLocation) bool { return l.Preferred }); i >= 0 {
		return found[i].Path, nil
	}
	return found[0].Path, nil
}

// rule is an access rule of a share.
type rule struct{ shareaccessrules.ShareAccess }

// rules are a share's. The error is openstack.Absent if the share was deleted meanwhile.
func (p project) rules(ctx context.Context, share string) ([]rule, error) {
	found, err := shareaccessrules.List(ctx, p.client, share).Extract()
	if openstack.Status(err) == http.StatusBadRequest { // as for any share that Manila does not know
		if gone := shares.Get(ctx, p.client, share).Err; openstack.Absent(gone) {
			err = gone
		}
	}
	var rules []rule
	for _, r := range found {
		rules = append(rules, rule{r})
	}
	return rules, explain("list the share's access rules", err)
}

// grant is the request for a rule. Its metadata names the bindings that it serves.
type grant struct {
	Type     string            `json:"access_type"`
	To       string            `json:"access_to"`
	Level    string            `json:"access_level"`
	Metadata map[string]string `json:"metadata"`
}

// ToGrantAccessMap implements shares.GrantAccessOptsBuilder.
func (g grant) ToGrantAccessMap() (map[string]any, error) {
	return gophercloud.BuildRequestBody(g, "allow_access")
}

func (p project) allow(ctx context.Context, share string, g grant) error {
	return explain("allow access", shares.GrantAccess(ctx, p.client, share, g).Err)
}

func (p project) deny(ctx context.Context, share, rule string) error {
	err := shares.RevokeAccess(ctx, p.client, share, shares.RevokeAccessOpts{AccessID: rule}).ExtractErr()
	return explain("deny access", openstack.UnlessAbsent(err))
}

// join makes a rule serve a further binding, and leave ends that.
func (p project) join(ctx context.Context, rule, binding, level string) error {
	err := openstack.Call(ctx, p.client, http.MethodPut, p.client.ServiceURL("share-access-rules", rule, "metadata"),
		map[string]any{"metadata": map[string]string{binding: level}}, nil)
	return explain("use the access rule of the address", err)
}

func (p project) leave(ctx context.Context, rule, binding string) error {
	err := openstack.Call(ctx, p.client, http.MethodDelete, p.client.ServiceURL("share-access-rules", rule, "metadata", binding), nil, nil)
	return explain("leave the access rule of the address", openstack.UnlessAbsent(err))
}
