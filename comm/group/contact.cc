#include "comm/group/contact.h"

#include <sstream>

namespace rondo::comm {

std::string encode(const Contact& contact) {
  std::string text;
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) text += (text.empty() ? "" : " ") + std::string(key) + "=" + value;
  };
  add("host", contact.host);
  add("mailbox", contact.mailbox);
  for (const Address& address : contact.addresses) add("address", address.text);
  if (contact.probes) add("probe", "yes");
  return text;
}

Result<Contact> decode_contact(const std::string& text) {
  Contact contact;
  std::istringstream words(text);
  std::string word;
  while (words >> word) {
    const size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (value.empty() || (key != "host" && key != "mailbox" && key != "address" && key != "probe"))
      return Status(Code::kCorrupt, "\"" + word +
                                        "\" is no part of how a rank is reached; do all ranks run the same "
                                        "build of Rondo?");
    if (key == "host") contact.host = value;
    if (key == "mailbox") contact.mailbox = value;
    if (key == "address") contact.addresses.push_back({value});
    if (key == "probe") contact.probes = value == "yes";
  }
  return contact;
}

}  // namespace rondo::comm
