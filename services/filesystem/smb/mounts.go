package smb

import (
	"slices"
	"strings"
)

// systemTrees are directories in which applications keep no files: a container's programs and
// devices, and what Cloud Foundry, Kubernetes and Cloud Native Buildpacks put into it.
var systemTrees = []string{
	"/bin", "/boot", "/dev", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys",
	"/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/libx32", "/usr/sbin", "/var/run",
	"/etc/cf-assets", "/etc/cf-instance-credentials", "/etc/cf-system-certificates", "/etc/ssl",
	"/cnb", "/layers", "/platform", "/tmp/lifecycle",
	"/home/vcap/deps", "/home/vcap/profile.d", "/home/vcap/staging_info.yml",
	"/var/vcap",
}

// neededDirectories hold what a container needs. Applications may use others below them.
var neededDirectories = []string{
	"/app", "/etc", "/home/vcap/app", "/opt", "/root", "/tmp", "/usr/local", "/usr/share", "/var/lib", "/workspace",
}

// hides returns the directory that a share at a path would hide, or in which nothing may be
// mounted; empty: it may be mounted.
func hides(path string) string {
	if strings.HasPrefix(path, defaultMounts) {
		return ""
	}
	for _, dir := range systemTrees {
		if within(path, dir) || within(dir, path) {
			return dir
		}
	}
	i := slices.IndexFunc(neededDirectories, func(dir string) bool { return within(dir, path) })
	if i < 0 {
		return ""
	}
	return neededDirectories[i]
}

// within says whether inner is outer or below it.
func within(inner, outer string) bool { return strings.HasPrefix(inner+"/", outer+"/") }
