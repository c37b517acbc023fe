package openwhisk

import "github.com/chandler-broker/chandler/services"

// MountedInstances implements services.Mounter.
func (b *backend) MountedInstances(params InstanceParams) []string {
	ids := make([]string, len(params.Mounts))
	for i, m := range params.Mounts {
		ids[i] = m.Instance
	}
	return ids
}

// mounts are the parameters' mounts with the directories that the engine found for
// them. The runtime that is told of them looks at the directories.
func mounts(inst instance) ([]mount, error) {
	all := []mount{}
	for i, m := range inst.Params.Mounts {
		directory, ok := inst.Directories[m.Instance]
		if !ok {
			return nil, services.Rejected("mounts[%d].instance: there is no file system of this identifier that can be mounted here", i)
		}
		all = append(all, mount{Instance: m.Instance, Path: m.Path, Folder: directory, ReadOnly: m.ReadOnly})
	}
	return all, nil
}
