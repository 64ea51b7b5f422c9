// A chat for phones: README.md beside it says how to run it; `node examples/chat.js bob phone` is the other side.
import 'react-native-get-random-values';
import { useState } from 'react';
import { Button, SafeAreaView, ScrollView, Text, TextInput } from 'react-native';
import { RTCPeerConnection } from 'react-native-webrtc';
import { useLinkup } from '../react/useLinkup.js';

const options = {
  // The broker on your computer, at its address in the network that the phone is in, too: a phone's localhost is the phone.
  brokerUrl: 'ws://192.168.0.2:5000',
  // React Native has no WebRTC of its own.
  RTCPeerConnection,
};

export default function App() {
  const { state, messages, send } = useLinkup('phone', options);
  const [to, setTo] = useState('bob');
  const [text, setText] = useState('');
  const [problem, setProblem] = useState('');

  async function say() {
    try {
      await send(to, text);
      setText('');
      setProblem('');
    } catch (error) {
      setProblem(error.message);
    }
  }

  return (
    <SafeAreaView style={{ flex: 1, padding: 16 }}>
      <Text>You are phone: {state}</Text>
      <TextInput accessibilityLabel="To" value={to} onChangeText={setTo} autoCapitalize="none" />
      <TextInput accessibilityLabel="Message" value={text} onChangeText={setText} onSubmitEditing={say} />
      <Button title="Send" onPress={say} />
      <Text accessibilityRole="alert">{problem}</Text>
      <ScrollView>
        {messages.map(({ from, message }, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: messages have no names, and none is ever taken out.
          <Text key={index}>{`${from}: ${message}`}</Text>
        ))}
      </ScrollView>
    </SafeAreaView>
  );
}
