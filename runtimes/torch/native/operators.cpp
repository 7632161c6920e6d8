// One entry for every ATen operator. The managed side finds an operator once, by schema name and overload, and calls it
// with an array of tagged values; the schema says how each is read, and fills in the arguments that are left out.
//
//   managed arguments -> IValues, directed by the schema -> c10::Dispatcher (autograd included) -> tagged results
#include "shim.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace sapo {
namespace {

/// What a value is; the managed enum of the same name has the same numbers.
enum class ValueKind : int32_t {
  Default = 0,  // take the schema's default
  None = 1,
  Tensor = 2,
  Int = 3,
  Double = 4,
  Bool = 5,
  IntList = 6,
  DoubleList = 7,
  TensorList = 8,
  String = 9,
  Device = 10,  // type in the high half, index in the low half
  Generator = 11,
};

/// One argument or result: lists and strings are a borrowed pointer and a length.
struct Value {
  ValueKind kind;
  int32_t length;
  union {
    int64_t integer;
    double real;
    const void* pointer;
    TensorHandle tensor;
  };
};
static_assert(sizeof(Value) == 16, "the managed struct has the same layout");

/// What the schema wants, found once per operator.
enum class Wanted : uint8_t { Tensor, TensorList, OptionalTensorList, Int, Float, Bool, Number, IntList, FloatList, String, Device, Generator };

struct Argument {
  Wanted wanted;
  bool optional;
  bool has_default;
  c10::IValue default_value;
};

struct Operator {
  c10::OperatorHandle handle;
  std::vector<Argument> arguments;
  std::string name;
};

Wanted wanted_of(const c10::TypePtr& type, const std::string& argument) {
  switch (type->kind()) {
    case c10::TypeKind::TensorType: return Wanted::Tensor;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: return Wanted::Int;
    case c10::TypeKind::FloatType: return Wanted::Float;
    case c10::TypeKind::BoolType: return Wanted::Bool;
    case c10::TypeKind::NumberType: return Wanted::Number;
    case c10::TypeKind::StringType: return Wanted::String;
    case c10::TypeKind::DeviceObjType: return Wanted::Device;
    case c10::TypeKind::GeneratorType: return Wanted::Generator;
    case c10::TypeKind::ListType: {
      const auto element = type->castRaw<c10::ListType>()->getElementType();
      if (element->kind() == c10::TypeKind::OptionalType) return Wanted::OptionalTensorList;
      switch (wanted_of(element, argument)) {
        case Wanted::Tensor: return Wanted::TensorList;
        case Wanted::Int: return Wanted::IntList;
        case Wanted::Float: return Wanted::FloatList;
        default: break;
      }
      break;
    }
    default: break;
  }
  TORCH_CHECK(false, "argument ", argument, " has the type ", type->str(), ", which the binding does not pass");
}

Argument argument_of(const c10::Argument& schema) {
  auto type = schema.type();
  const bool optional = type->kind() == c10::TypeKind::OptionalType;
  if (optional) type = type->castRaw<c10::OptionalType>()->getElementType();
  const bool has_default = schema.default_value().has_value();
  return {wanted_of(type, schema.name()), optional, has_default, has_default ? *schema.default_value() : c10::IValue()};
}

at::Generator generator_of(const void* pointer) { return *static_cast<const at::Generator*>(pointer); }

c10::IValue number_of(const Value& value) {
  if (value.kind == ValueKind::Int) return value.integer;
  if (value.kind == ValueKind::Double) return value.real;
  if (value.kind == ValueKind::Bool) return value.integer != 0;
  TORCH_CHECK(false, "expected a number");
}

c10::IValue list_of(const Value& value, Wanted wanted) {
  if (wanted == Wanted::IntList) {
    const auto* items = static_cast<const int64_t*>(value.pointer);
    return c10::IValue(std::vector<int64_t>(items, items + value.length));
  }
  if (wanted == Wanted::FloatList) {
    const auto* items = static_cast<const double*>(value.pointer);
    return c10::IValue(std::vector<double>(items, items + value.length));
  }
  const auto* items = static_cast<const TensorHandle*>(value.pointer);
  if (wanted == Wanted::TensorList) {
    c10::List<at::Tensor> list;
    list.reserve(value.length);
    for (int32_t i = 0; i < value.length; ++i) list.push_back(borrow(items[i]));
    return list;
  }
  c10::List<optional<at::Tensor>> list;
  list.reserve(value.length);
  for (int32_t i = 0; i < value.length; ++i)
    list.push_back(items[i] == nullptr ? optional<at::Tensor>() : optional<at::Tensor>(borrow(items[i])));
  return list;
}

/// A managed value as the schema wants it; integers widen to floats.
c10::IValue convert(const Value& value, const Argument& argument) {
  if (value.kind == ValueKind::None || (value.kind == ValueKind::Tensor && value.tensor == nullptr)) {
    // The undefined tensor stands for "no tensor" where the schema has no Tensor?.
    return argument.wanted == Wanted::Tensor && !argument.optional ? c10::IValue(at::Tensor()) : c10::IValue();
  }
  switch (argument.wanted) {
    case Wanted::Tensor: return borrow(value.tensor);
    case Wanted::Int: return value.integer;
    case Wanted::Float: return value.kind == ValueKind::Double ? value.real : static_cast<double>(value.integer);
    case Wanted::Bool: return value.integer != 0;
    case Wanted::Number: return number_of(value);
    case Wanted::String: return std::string(static_cast<const char*>(value.pointer), value.length);
    case Wanted::Device:
      return c10::Device(static_cast<c10::DeviceType>(value.integer >> 32), static_cast<c10::DeviceIndex>(static_cast<int32_t>(value.integer)));
    case Wanted::Generator: return generator_of(value.pointer);
    default: return list_of(value, argument.wanted);
  }
}

/// Results that did not fit the caller's array wait here for sapo_take_results.
thread_local std::vector<Value> waiting_results;

void add_result(std::vector<Value>& results, const c10::IValue& value) {
  Value result{ValueKind::None, 0, {0}};
  if (value.isTensor()) {
    result.kind = ValueKind::Tensor;
    result.tensor = hand_over(value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) add_result(results, tensor);
    return;
  } else if (value.isInt()) {
    result.kind = ValueKind::Int;
    result.integer = value.toInt();
  } else if (value.isDouble()) {
    result.kind = ValueKind::Double;
    result.real = value.toDouble();
  } else if (value.isBool()) {
    result.kind = ValueKind::Bool;
    result.integer = value.toBool() ? 1 : 0;
  }
  results.push_back(result);
}

/// Hands over the results: one tensor, by far the most common case, goes straight into the caller's slot.
void return_results(std::vector<c10::IValue>& stack, Value* results, int32_t capacity, int32_t* count) {
  if (capacity == 0) {
    *count = 0;
    return;
  }
  if (stack.size() == 1 && stack[0].isTensor()) {
    results[0] = Value{ValueKind::Tensor, 0, {0}};
    results[0].tensor = hand_over(std::move(stack[0]).toTensor());
    *count = 1;
    return;
  }
  waiting_results.clear();
  for (const auto& value : stack) add_result(waiting_results, value);
  *count = static_cast<int32_t>(waiting_results.size());
  if (*count <= capacity) {
    std::copy(waiting_results.begin(), waiting_results.end(), results);
    waiting_results.clear();
  }
}

}  // namespace

const char* keep_message(const char* message) {
  thread_local std::string kept;
  kept = message;
  return kept.c_str();
}

}  // namespace sapo

using namespace sapo;

/// Finds an operator, for example "aten::add" and "Tensor"; the result lives as long as the process.
SAPO_API const char* sapo_operator_find(const char* name, const char* overload, Operator** found) {
  return guarded([&] {
    auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
    auto result = std::make_unique<Operator>(Operator{handle, {}, name});
    for (const auto& argument : handle.schema().arguments()) result->arguments.push_back(argument_of(argument));
    *found = result.release();
  });
}

/// Says whether this libtorch has an operator.
SAPO_API int32_t sapo_operator_exists(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchema({name, overload}).has_value() ? 1 : 0;
}

/// Calls an operator. Arguments left out at the end, or of kind Default, take the schema's defaults. Up to `capacity`
/// results are written; capacity 0 drops them (in-place operators). Where *count exceeds it, call sapo_take_results.
SAPO_API const char* sapo_operator_call(const Operator* op, const Value* values, int32_t length, Value* results, int32_t capacity, int32_t* count) {
  return guarded([&] {
    const auto& arguments = op->arguments;
    TORCH_CHECK(static_cast<size_t>(length) <= arguments.size(), op->name, " takes ", arguments.size(), " arguments, ", length, " were given");
    std::vector<c10::IValue> stack;
    stack.reserve(arguments.size());
    for (size_t i = 0; i < arguments.size(); ++i) {
      const auto& argument = arguments[i];
      if (static_cast<int32_t>(i) < length && values[i].kind != ValueKind::Default) {
        stack.push_back(convert(values[i], argument));
      } else {
        TORCH_CHECK(argument.has_default, op->name, ": argument ", i, " has no default and was not given");
        stack.push_back(argument.default_value);
      }
    }
    op->handle.callBoxed(stack);
    return_results(stack, results, capacity, count);
  });
}

/// Copies out the results of this thread's last call that did not fit.
SAPO_API void sapo_take_results(Value* results) {
  std::copy(waiting_results.begin(), waiting_results.end(), results);
  waiting_results.clear();
}
