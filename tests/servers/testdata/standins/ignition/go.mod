module github.com/coreos/ignition/v2

go 1.26.0

require github.com/coreos/vcontext v0.0.0-20230201181013-d72178a18687
