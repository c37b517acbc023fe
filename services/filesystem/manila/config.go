package manila

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Config is the backend's own configuration: one cloud.
type Config struct {
	openstack.Config
	// CSIClusterID is the clusterID of the Ceph cluster in ceph-csi's configuration, and
	// CephFileSystem the name of the file system; for users of Kubernetes.
	CSIClusterID   string `json:"csi_cluster_id"`
	CephFileSystem string `json:"ceph_file_system"`
}

var cephNameRule = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	f.Add(c.Config.Validate())
	f.If(c.CSIClusterID != "" && !cephNameRule.MatchString(c.CSIClusterID), "csi_cluster_id: must be the clusterID of the Ceph cluster in ceph-csi's configuration, or left out")
	f.If(c.CephFileSystem != "" && !cephNameRule.MatchString(c.CephFileSystem), "ceph_file_system: must be the name of the file system in Ceph, such as cephfs, or left out")
	return f.Err()
}

// Protocol is how clients use shares.
type Protocol string

// The protocols.
const (
	CephFS Protocol = "cephfs"
	NFS    Protocol = "nfs"
)

// Plan is what a plan of this backend says about its shares.
type Plan struct {
	Protocol Protocol `json:"protocol"`
	// ShareType is the name or ID of Manila's share type.
	ShareType string `json:"share_type"`
	// Storage is a share's size, and MaxStorage the largest that users can ask for; default:
	// Storage. Manila counts whole gigabytes.
	Storage    services.Size `json:"storage"`
	MaxStorage services.Size `json:"max_storage"`
	// Bindings is how many bindings an instance may have.
	Bindings int `json:"bindings"`
	// Networks are those in which the clients of NFS must be; default: any, but bindings can
	// name only small ones.
	Networks []string `json:"networks"`
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.Protocol, p.Bindings = CephFS, 40 }

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.OneOf("protocol", string(p.Protocol), string(CephFS), string(NFS))
	f.If(p.ShareType == "" || len(p.ShareType) > 255, "share_type: must be the name or ID of a share type that exists in Manila")
	f.If(!whole(p.Storage), "storage: must be "+sizeForm)
	f.If(p.MaxStorage != 0 && (!whole(p.MaxStorage) || p.MaxStorage < p.Storage), "max_storage: must be "+sizeForm+", and not less than storage; left out, it is storage")
	check.Range(&f, "bindings", p.Bindings, 1, 1000)
	f.If(len(p.Networks) > 0 && p.Protocol != NFS, "networks: only shares over NFS are protected by address: remove it")
	for _, n := range p.Networks {
		_, err := network(n)
		f.Key("networks", err)
	}
	return f.Err()
}

// most is the largest size of a share.
func (p Plan) most() services.Size { return max(p.Storage, p.MaxStorage) }

const (
	sizeForm = `a whole number and GB or TB, such as "5GB"`
	// maxSize is beyond what a share can have.
	maxSize = 1 << 20 * services.Gigabyte
)

// whole says whether Manila knows a size.
func whole(s services.Size) bool {
	return s >= services.Gigabyte && s <= maxSize && s%services.Gigabyte == 0
}

// InstanceParams are the user's parameters of an instance.
type InstanceParams struct {
	// Storage is the share's size; 0: the plan's.
	Storage services.Size `json:"storage,omitempty"`
}

// Validate implements services.Validator.
func (p *InstanceParams) Validate() error {
	if p.Storage != 0 && !whole(p.Storage) {
		return errors.New("storage: must be " + sizeForm)
	}
	return nil
}

// BindingParams are the user's parameters of a binding.
type BindingParams struct {
	Role access.Role `json:"role"`
	// Address is where clients of NFS are: an address or a network.
	Address string `json:"address,omitempty"`
}

// SetDefaults implements services.Defaulter.
func (p *BindingParams) SetDefaults() { p.Role = access.ReadWrite }

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	var f check.Faults
	f.Add(p.Role.Check())
	if p.Address != "" {
		_, err := network(p.Address)
		f.Key("address", err)
	}
	return f.Err()
}

// network reads an address or a network.
func network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(text)
	if err != nil || n.Addr().Is4In6() {
		return n, errors.New("must be an address, such as 10.0.3.17, or a network, such as 10.0.3.0/24")
	}
	if n != n.Masked() {
		return n, fmt.Errorf("%s has bits behind its prefix: write %s for the network, or %s for the address", n, n.Masked(), n.Addr())
	}
	return n, nil
}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)
