package openwhisk

import (
	"fmt"
	"os"

	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
)

// MountedInstances implements services.Mounter: the instances whose folders the parameters
// ask for.
func (b *backend) MountedInstances(params InstanceParams) []string {
	ids := make([]string, len(params.Mounts))
	for i, m := range params.Mounts {
		ids[i] = m.Instance
	}
	return ids
}

// mounts are the parameters' mounts with the folders that the engine found for
// them, each as it is at this moment.
func mounts(inst instance) ([]state.Mount, error) {
	all := []state.Mount{}
	for i, m := range inst.Params.Mounts {
		folder, ok := inst.Directories[m.Instance]
		if !ok {
			return nil, services.Rejected("mounts[%d].instance: there is no file system of this identifier that can be mounted here", i)
		}
		mount, err := identify(folder)
		if err != nil {
			return nil, fmt.Errorf("mounts[%d]: %w", i, err)
		}
		mount.Instance, mount.Path, mount.ReadOnly = m.Instance, m.Path, m.ReadOnly
		all = append(all, mount)
	}
	return all, nil
}

// identify tells what distinguishes a folder from another one that is made under
// its name later.
func identify(folder string) (state.Mount, error) {
	if info, err := os.Lstat(folder); err != nil {
		return state.Mount{}, fmt.Errorf("look at the folder: %w", err)
	} else if !info.IsDir() {
		return state.Mount{}, fmt.Errorf("look at the folder %s: it is none", folder)
	}
	is, err := sandbox.IdentityOf(folder)
	if err != nil {
		return state.Mount{}, err
	}
	return state.Mount{Folder: folder, Device: is.Device, Inode: is.Inode, Born: is.Born}, nil
}
