// Registers the functions with Node. Loadable in any number of worker threads: all state is in the Instance.
#include <napi.h>

#include "addon.h"

namespace mlshim
{
namespace
{

constexpr int MAX_ARGS = 6;

// The bridge of every hot function: int32 arguments in, one int32 out. Missing arguments are 0.
template <Function F> napi_value bridge(napi_env env, napi_callback_info info)
{
	napi_value values[MAX_ARGS];
	int32_t args[MAX_ARGS] = {};
	size_t count = MAX_ARGS;
	void *data = nullptr;
	napi_value out = nullptr;

	if (napi_get_cb_info(env, info, &count, values, nullptr, &data) != napi_ok)
		return nullptr;
	if (count > MAX_ARGS)
		count = MAX_ARGS;
	for (size_t i = 0; i < count; i++)
		napi_get_value_int32(env, values[i], &args[i]);
	auto *self = static_cast<Instance *>(data);
	self->calls++;
	napi_create_int32(env, F(*self, args), &out);
	return out;
}

struct Entry {
	const char *name;
	napi_callback call;
};

const Entry ENTRIES[] = {
    {"mapOver", bridge<map_over>},
    {"eventfd", bridge<event_fd>},
    {"signal", bridge<event_signal>},
    {"drain", bridge<event_drain>},
    {"epollCreate", bridge<epoll_make>},
    {"epollAdd", bridge<epoll_add>},
    {"epollMod", bridge<epoll_mod>},
    {"epollDel", bridge<epoll_del>},
    {"poll", bridge<poll_events>},
    {"readClock", bridge<read_clock>},
    {"makePair", bridge<make_pair>},
    {"gate", bridge<gate>},
    {"ungate", bridge<ungate>},
    {"setSendBuffer", bridge<set_send_buffer>},
    {"recvLag", bridge<recv_lag>},
    {"takeLag", bridge<take_lag>},
    {"send", bridge<send_octets>},
    {"shutdown", bridge<shut_down>},
    {"close", bridge<close_fd>},
    {"queued", bridge<queued>},
    {"recvDatagrams", bridge<recv_datagrams>},
    {"sendDatagrams", bridge<send_datagrams>},
    {"accept", bridge<accept_fd>},
    {"peerCred", bridge<peer_cred>},
    {"peerPid", bridge<peer_pid>},
    {"recvMessage", bridge<recv_message>},
    {"sendMessage", bridge<send_message>},
    {"kernelSocket", bridge<kernel_socket>},
    {"kernelBind", bridge<kernel_bind>},
    {"kernelListen", bridge<kernel_listen>},
    {"kernelName", bridge<kernel_name>},
    {"kernelRecv", bridge<kernel_recv>},
    {"kernelSend", bridge<kernel_send>},
    {"hostSocket", bridge<host_socket>},
    {"kernelConnect", bridge<kernel_connect>},
    {"socketInode", bridge<socket_inode>},
    {"endSocketOf", bridge<end_socket_of>},
    {"echoSocket", bridge<echo_socket>},
    {"setOption", bridge<set_option>},
    {"getOption", bridge<get_option>},
    {"shortenFar", bridge<shorten_far>},
    {"netlinkOpen", bridge<netlink_open>},
    {"netlinkRelay", bridge<netlink_relay>},
};

struct Octets {
	uint8_t *place = nullptr;
	size_t length = 0;
};

// The octets of a Uint8Array argument; an exception is pending and `place` null when it is something else. An empty array
// has a place too.
Octets octets_of(const Napi::CallbackInfo &info, size_t index, const char *complaint)
{
	static uint8_t none;
	napi_typedarray_type type;
	size_t length = 0;
	void *data = nullptr;

	if (napi_get_typedarray_info(info.Env(), info[index], &type, &length, &data, nullptr, nullptr) != napi_ok ||
	    type != napi_uint8_array) {
		Napi::TypeError::New(info.Env(), complaint).ThrowAsJavaScriptException();
		return {};
	}
	return {data == nullptr ? &none : static_cast<uint8_t *>(data), length};
}

// attachWorld(u8): the array may be over a SharedArrayBuffer, which only the typed-array call can look into.
Napi::Value attach_world(const Napi::CallbackInfo &info)
{
	auto *self = static_cast<Instance *>(info.Data());
	Octets world = octets_of(info, 0, "attachWorld wants a Uint8Array");

	if (world.place != nullptr) {
		self->base = world.place;
		self->size = world.length;
	}
	return info.Env().Undefined();
}

Napi::Value memfd(const Napi::CallbackInfo &info)
{
	std::string name = info[0].ToString().Utf8Value();
	return Napi::Number::New(info.Env(), memfd_create_sized(name.c_str(), info[1].ToNumber().Int64Value()));
}

Napi::Value call_count(const Napi::CallbackInfo &info)
{
	return Napi::Number::New(info.Env(), static_cast<double>(static_cast<Instance *>(info.Data())->calls));
}

Napi::Value listen_unix(const Napi::CallbackInfo &info)
{
	std::string path = info[0].ToString().Utf8Value();
	return Napi::Number::New(
	    info.Env(), unix_listen(path.c_str(), info[1].ToNumber().Int32Value(), info[2].ToNumber().Int32Value()));
}

Napi::Value connect_unix(const Napi::CallbackInfo &info)
{
	std::string path = info[0].ToString().Utf8Value();
	return Napi::Number::New(info.Env(), unix_connect(path.c_str(), info[1].ToNumber().Int32Value()));
}

Napi::Value bind_inet(const Napi::CallbackInfo &info)
{
	std::string address = info[1].ToString().Utf8Value();
	return Napi::Number::New(info.Env(), inet_bind(info[0].ToNumber().Int32Value(), address.c_str(),
						       static_cast<uint16_t>(info[2].ToNumber().Uint32Value())));
}

Napi::Value bind_device(const Napi::CallbackInfo &info)
{
	std::string name = info[1].ToString().Utf8Value();
	return Napi::Number::New(info.Env(), bind_to_device(info[0].ToNumber().Int32Value(), name.c_str()));
}

Napi::Value source_to(const Napi::CallbackInfo &info)
{
	std::string remote = info[0].ToString().Utf8Value();
	char text[64] = {};
	int32_t answer = inet_source(remote.c_str(), text, sizeof(text));

	if (answer < 0)
		return Napi::Number::New(info.Env(), answer);
	return Napi::String::New(info.Env(), text);
}

Napi::Value send_echo(const Napi::CallbackInfo &info)
{
	std::string remote = info[1].ToString().Utf8Value();
	Octets message = octets_of(info, 2, "echoSend wants a Uint8Array");

	if (message.place == nullptr)
		return info.Env().Undefined();
	return Napi::Number::New(
	    info.Env(), echo_send(info[0].ToNumber().Int32Value(), remote.c_str(), message.place, message.length));
}

// The age comes first in the room, as a double: two results of one call.
Napi::Value receive_echo(const Napi::CallbackInfo &info)
{
	Octets room = octets_of(info, 1, "echoReceive wants a Uint8Array");

	if (room.place == nullptr)
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(), echo_receive(info[0].ToNumber().Int32Value(), room.place, room.length));
}

Napi::Value set_md5_key(const Napi::CallbackInfo &info)
{
	std::string address = info[1].ToString().Utf8Value();
	Octets key = octets_of(info, 3, "tcpMd5 wants the key as a Uint8Array");

	if (key.place == nullptr)
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(), tcp_md5(info[0].ToNumber().Int32Value(), address.c_str(),
						     static_cast<uint8_t>(info[2].ToNumber().Uint32Value()), key.place,
						     key.length));
}

Napi::Value send_netlink(const Napi::CallbackInfo &info)
{
	Octets batch = octets_of(info, 1, "netlinkSend wants a Uint8Array");

	if (batch.place == nullptr)
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(), netlink_send(info[0].ToNumber().Int32Value(), batch.place, batch.length));
}

Napi::Value recv_netlink(const Napi::CallbackInfo &info)
{
	Octets room = octets_of(info, 1, "netlinkRecv wants a Uint8Array");

	if (room.place == nullptr)
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(), netlink_recv(info[0].ToNumber().Int32Value(), room.place, room.length,
							  info[2].ToNumber().Int32Value()));
}

Napi::Value filter_netlink(const Napi::CallbackInfo &info)
{
	Octets program = octets_of(info, 1, "netlinkFilter wants a Uint8Array");

	if (program.place == nullptr)
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(),
				 netlink_filter(info[0].ToNumber().Int32Value(), program.place, program.length));
}

Napi::Value map_create(const Napi::CallbackInfo &info)
{
	std::string name = info[5].ToString().Utf8Value();
	auto number = [&info](size_t i) { return info[i].ToNumber().Uint32Value(); };
	return Napi::Number::New(info.Env(),
				 bpf_map_make(number(0), number(1), number(2), number(3), number(4), name.c_str()));
}

Napi::Value map_pinned(const Napi::CallbackInfo &info)
{
	std::string path = info[0].ToString().Utf8Value();
	return Napi::Number::New(info.Env(), bpf_pinned(path.c_str()));
}

Napi::Value map_update(const Napi::CallbackInfo &info)
{
	Octets keys = octets_of(info, 1, "mapUpdate wants the keys as a Uint8Array");
	Octets values = octets_of(info, 2, "mapUpdate wants the values as a Uint8Array");
	uint32_t count = info[3].ToNumber().Uint32Value();

	if (keys.place == nullptr || values.place == nullptr)
		return info.Env().Undefined();
	if (count == 0 || keys.length % count != 0 || values.length % count != 0)
		return Napi::Number::New(info.Env(), -EINVAL);
	return Napi::Number::New(info.Env(), bpf_update(info[0].ToNumber().Int32Value(), keys.place, values.place,
							keys.length / count, values.length / count, count));
}

Napi::Value map_lookup(const Napi::CallbackInfo &info)
{
	Octets key = octets_of(info, 1, "mapLookup wants the key as a Uint8Array");
	Octets value = octets_of(info, 2, "mapLookup wants room for the value in a Uint8Array");

	if (key.place == nullptr || value.place == nullptr)
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(), bpf_lookup(info[0].ToNumber().Int32Value(), key.place, value.place));
}

Napi::Value map_delete(const Napi::CallbackInfo &info)
{
	Octets key = octets_of(info, 1, "mapDelete wants the key as a Uint8Array");

	if (key.place == nullptr)
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(), bpf_delete(info[0].ToNumber().Int32Value(), key.place));
}

// mapNextKey(fd, key, next): undefined as the key asks for the first one
Napi::Value map_next_key(const Napi::CallbackInfo &info)
{
	Octets key = info[1].IsUndefined() ? Octets{} : octets_of(info, 1, "mapNextKey wants a Uint8Array");
	Octets next = octets_of(info, 2, "mapNextKey wants room for the key in a Uint8Array");

	if (next.place == nullptr || (key.place == nullptr && !info[1].IsUndefined()))
		return info.Env().Undefined();
	return Napi::Number::New(info.Env(), bpf_next_key(info[0].ToNumber().Int32Value(), key.place, next.place));
}

Napi::Value own_netns_cookie(const Napi::CallbackInfo &info)
{
	uint64_t cookie = 0;
	int32_t status = netns_cookie(cookie);
	if (status < 0)
		return Napi::Number::New(info.Env(), status);
	return Napi::BigInt::New(info.Env(), cookie);
}

Napi::Object init(Napi::Env env, Napi::Object exports)
{
	auto *self = new Instance();

	env.SetInstanceData<Instance>(self); // freed with the environment
	for (const Entry &entry : ENTRIES) {
		napi_value function = nullptr;
		napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.call, self, &function);
		exports.Set(entry.name, Napi::Value(env, function));
	}
	exports.Set("attachWorld", Napi::Function::New(env, attach_world, "attachWorld", self));
	exports.Set("callCount", Napi::Function::New(env, call_count, "callCount", self));
	exports.Set("memfdCreate", Napi::Function::New(env, memfd, "memfdCreate"));
	exports.Set("unixListen", Napi::Function::New(env, listen_unix, "unixListen"));
	exports.Set("unixConnect", Napi::Function::New(env, connect_unix, "unixConnect"));
	exports.Set("inetBind", Napi::Function::New(env, bind_inet, "inetBind"));
	exports.Set("bindToDevice", Napi::Function::New(env, bind_device, "bindToDevice"));
	exports.Set("echoSend", Napi::Function::New(env, send_echo, "echoSend"));
	exports.Set("echoReceive", Napi::Function::New(env, receive_echo, "echoReceive"));
	exports.Set("inetSource", Napi::Function::New(env, source_to, "inetSource"));
	exports.Set("tcpMd5", Napi::Function::New(env, set_md5_key, "tcpMd5"));
	exports.Set("netlinkSend", Napi::Function::New(env, send_netlink, "netlinkSend"));
	exports.Set("netlinkRecv", Napi::Function::New(env, recv_netlink, "netlinkRecv"));
	exports.Set("netlinkFilter", Napi::Function::New(env, filter_netlink, "netlinkFilter"));
	exports.Set("mapCreate", Napi::Function::New(env, map_create, "mapCreate"));
	exports.Set("mapPinned", Napi::Function::New(env, map_pinned, "mapPinned"));
	exports.Set("mapUpdate", Napi::Function::New(env, map_update, "mapUpdate"));
	exports.Set("mapLookup", Napi::Function::New(env, map_lookup, "mapLookup"));
	exports.Set("mapDelete", Napi::Function::New(env, map_delete, "mapDelete"));
	exports.Set("mapNextKey", Napi::Function::New(env, map_next_key, "mapNextKey"));
	exports.Set("netnsCookie", Napi::Function::New(env, own_netns_cookie, "netnsCookie"));
	return exports;
}

} // namespace

NODE_API_MODULE(mlshim, init)

} // namespace mlshim
